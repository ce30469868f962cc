//! The text of a configuration file, positions in it, and the few lines shown around an error.

/// A place in the file, as editors count it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
    /// How many characters of the line are meant; at least 1.
    pub width: u32,
}

impl Position {
    /// The first character of the file.
    pub const START: Self = Self { line: 1, column: 1, width: 1 };

    /// This place, or the end of `text` where it lies behind it: a parser finds out what is missing after the last line.
    pub(super) fn within(self, text: &str) -> Self {
        let Some((index, last)) = lines(text).enumerate().last() else { return Self::START };
        if (self.line as usize) <= index + 1 {
            return self;
        }
        Self { line: narrow(index + 1), column: narrow(last.chars().count() + 1), width: 1 }
    }
}

/// A count as it is printed; what is larger than any file can be is cut.
pub(super) fn narrow(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

/// The widest part of a line that is shown.
const WINDOW: usize = 100;

/// The lines of `text` as YAML counts them, without their ends: a carriage return alone ends a line too.
pub(super) fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.lines().flat_map(|line| line.split('\r'))
}

/// The lines before, at and after `position`, with a caret below the middle one.
///
/// Control characters and bidirectional marks are shown as `�`: the file may come from a stranger and ends up in terminals.
pub(super) fn snippet(text: &str, position: Position) -> String {
    let lines: Vec<&str> = lines(text).collect();
    let middle = position.line.max(1) as usize - 1;
    let number_width = (middle + 2).min(lines.len().max(1)).to_string().len();
    let skipped = (position.column as usize).saturating_sub(WINDOW * 3 / 4);
    let mut out = format!("{:number_width$} |\n", "");
    for index in middle.saturating_sub(1)..=middle + 1 {
        let Some(line) = lines.get(index) else { continue };
        let shown: String = line.chars().skip(skipped).take(WINDOW).map(visible).collect();
        out.push_str(format!("{:number_width$} | {shown}", index + 1).trim_end());
        out.push('\n');
        if index == middle {
            let indent = position.column.max(1) as usize - 1 - skipped;
            let width = (position.width.max(1) as usize).min(WINDOW.saturating_sub(indent).max(1));
            out.push_str(&format!("{:number_width$} | {:indent$}{}\n", "", "", "^".repeat(width)));
        }
    }
    out
}

/// `text` as one short line that is safe to print: at most `limit` characters.
pub(crate) fn printable(text: &str, limit: usize) -> String {
    let mut shown: String = text.chars().take(limit).map(visible).collect();
    if text.chars().nth(limit).is_some() {
        shown.push('…');
    }
    shown
}

fn visible(character: char) -> char {
    let is_bidirectional_mark = matches!(character, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    match character {
        '\t' => ' ',
        _ if character.is_control() || is_bidirectional_mark => '\u{fffd}',
        _ => character,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_the_line_with_its_neighbours() {
        let text = "one\ntwo: 2\nthree\nfour\n";
        let position = Position { line: 2, column: 6, width: 1 };
        assert_eq!(snippet(text, position), "  |\n1 | one\n2 | two: 2\n  |      ^\n3 | three\n");
    }

    #[test]
    fn lines_end_as_in_yaml() {
        let counted: Vec<&str> = lines("a\r\nb\rc\n\r\nd").collect();
        assert_eq!(counted, ["a", "b", "c", "", "d"]);
    }

    #[test]
    fn crops_long_lines_around_the_caret() {
        let text = format!("{}X{}", "a".repeat(5000), "b".repeat(5000));
        let shown = snippet(&text, Position { line: 1, column: 5001, width: 9000 });
        let lines: Vec<&str> = shown.lines().collect();
        assert_eq!(lines[1].find('X'), lines[2].find('^'));
        assert!(lines.iter().all(|line| line.chars().count() < 120), "{shown}");
    }

    #[test]
    fn terminals_are_safe_from_it() {
        let shown = snippet("key: \u{1b}[2J\u{202e}x", Position::START);
        assert!(!shown.contains('\u{1b}') && !shown.contains('\u{202e}'), "{shown}");
        assert_eq!(printable("a\nb\u{7}cdef", 4), "a\u{fffd}b\u{fffd}…");
    }

    #[test]
    fn what_lies_behind_the_end_is_said_of_the_end() {
        let behind = Position { line: 3, column: 1, width: 4 };
        assert_eq!(behind.within("a\nbc\n"), Position { line: 2, column: 3, width: 1 });
        assert_eq!(behind.within("a\nb\nc"), behind);
        assert_eq!(behind.within(""), Position::START);
    }

    #[test]
    fn a_position_outside_the_text_is_no_panic() {
        for (line, column) in [(0, 0), (9, 9), (u32::MAX, u32::MAX)] {
            snippet("a\nb", Position { line, column, width: 3 });
        }
    }
}
