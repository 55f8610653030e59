//! What stands out and how.

use ratatui::style::{Color, Modifier, Style};

/// How the view is painted.
#[derive(Clone, Copy, Debug)]
pub(in crate::watch) struct Theme {
    pub(in crate::watch) is_colored: bool,
}

impl Theme {
    fn paint(self, color: Color) -> Style {
        if self.is_colored {
            Style::new().fg(color)
        } else {
            Style::new()
        }
    }

    pub(super) fn good(self) -> Style {
        self.paint(Color::Green)
    }

    pub(super) fn bad(self) -> Style {
        self.paint(Color::Red).add_modifier(Modifier::BOLD)
    }

    pub(super) fn warning(self) -> Style {
        self.paint(Color::Yellow).add_modifier(Modifier::BOLD)
    }

    pub(super) fn chart(self) -> Style {
        self.paint(Color::Cyan)
    }

    pub(super) fn faint(self) -> Style {
        if self.is_colored {
            self.paint(Color::DarkGray)
        } else {
            Style::new().add_modifier(Modifier::DIM)
        }
    }
}

pub(super) const BOLD: Style = Style::new().add_modifier(Modifier::BOLD);
