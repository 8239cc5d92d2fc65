//! The styles of what is drawn, with colours or without.

use ratatui::style::{Color, Modifier, Style};

/// Which styles are used.
#[derive(Debug, Clone, Copy)]
pub(in crate::cli::watch::top) struct Theme {
    pub(super) colors: bool,
}

impl Theme {
    /// Uses no colours if NO_COLOR is set and not empty (<https://no-color.org>).
    pub(in crate::cli::watch::top) fn of_environment() -> Self {
        let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self { colors: !no_color }
    }

    fn color(self, color: Color, otherwise: Modifier) -> Style {
        if self.colors {
            Style::new().fg(color)
        } else {
            Style::new().add_modifier(otherwise)
        }
    }

    pub(super) fn title(self) -> Style {
        Style::new().add_modifier(Modifier::BOLD)
    }

    /// Names of figures and lines between panels.
    pub(super) fn faint(self) -> Style {
        self.color(Color::DarkGray, Modifier::DIM)
    }

    pub(super) fn good(self) -> Style {
        self.color(Color::Green, Modifier::empty())
    }

    /// Something to look at.
    pub(super) fn warning(self) -> Style {
        let style = self.color(Color::Yellow, Modifier::BOLD);
        style.add_modifier(Modifier::BOLD)
    }

    /// Something to do about.
    pub(super) fn alarm(self) -> Style {
        let style = self.color(Color::Red, Modifier::BOLD);
        style.add_modifier(Modifier::BOLD | Modifier::REVERSED)
    }

    pub(super) fn requests(self) -> Style {
        self.color(Color::Cyan, Modifier::empty())
    }

    pub(super) fn latency(self) -> Style {
        self.color(Color::Magenta, Modifier::empty())
    }
}
