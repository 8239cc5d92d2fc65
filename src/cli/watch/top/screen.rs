//! The terminal: the alternate screen while the command runs, and as it was before when it ends, also
//! by an error or a panic.

use std::time::Duration;

use anyhow::{Context, Result};
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};
use ratatui::{DefaultTerminal, Frame};

/// The whole terminal. Dropping it restores what was there before.
pub(super) struct Screen(DefaultTerminal);

/// What a person does.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Input {
    Quit,
    Resized,
}

impl Screen {
    /// Takes the whole terminal. A panic restores it before its message is printed.
    ///
    /// # Errors
    ///
    /// The terminal cannot be used.
    pub(super) fn open() -> Result<Self> {
        let terminal = ratatui::try_init();
        if terminal.is_err() {
            // Some of it may have been done.
            let _ = ratatui::try_restore();
        }
        terminal.map(Self).context("cannot use the terminal")
    }

    pub(super) fn draw(&mut self, draw: impl FnOnce(&mut Frame)) -> Result<()> {
        let drawn = self.0.draw(draw);
        drawn.map(|_| ()).context("cannot write to the terminal")
    }

    /// Waits for an input that has a meaning, at most this long.
    pub(super) fn input(&mut self, patience: Duration) -> Result<Option<Input>> {
        let input = || -> std::io::Result<_> {
            if event::poll(patience)? {
                return event::read().map(|event| meaning(&event));
            }
            Ok(None)
        };
        input().context("cannot read from the terminal")
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // If the terminal is gone, there is nothing to restore.
        let _ = ratatui::try_restore();
    }
}

fn meaning(event: &Event) -> Option<Input> {
    match event {
        Event::Resize(..) => Some(Input::Resized),
        Event::Key(key) if key.kind == KeyEventKind::Press => {
            let control = key.modifiers.contains(KeyModifiers::CONTROL);
            match key.code {
                KeyCode::Esc | KeyCode::Char('q' | 'Q') => Some(Input::Quit),
                KeyCode::Char('c') if control => Some(Input::Quit),
                _ => None,
            }
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ratatui::crossterm::event::KeyEvent;

    #[test]
    fn q_escape_and_control_c_quit() {
        let press = |code, modifiers| meaning(&Event::Key(KeyEvent::new(code, modifiers)));
        let none = KeyModifiers::NONE;
        assert_eq!(press(KeyCode::Char('q'), none), Some(Input::Quit));
        assert_eq!(press(KeyCode::Esc, none), Some(Input::Quit));
        let control = KeyModifiers::CONTROL;
        assert_eq!(press(KeyCode::Char('c'), control), Some(Input::Quit));
        assert_eq!(press(KeyCode::Char('c'), none), None);
        assert_eq!(meaning(&Event::Resize(1, 1)), Some(Input::Resized));
    }
}
