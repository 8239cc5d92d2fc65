//! A part of the screen with a title.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::Span;
use ratatui::widgets::{Block, Borders};

use super::theme::Theme;

/// Draws the line above a panel with its title. Returns the room below.
pub(super) fn panel(frame: &mut Frame, area: Rect, title: &str, theme: Theme) -> Rect {
    let block = Block::new()
        .borders(Borders::TOP)
        .border_style(theme.faint())
        .title(Span::styled(format!("{title} "), theme.title()));
    let inner = block.inner(area);
    frame.render_widget(block, area);
    inner
}
