//! Log output as plain text: terminal escapes, control and direction characters taken out, bad UTF-8 replaced.

/// The most bytes that may wait for the rest of a character or an escape; a longer escape is dropped as it stands.
const MAX_PENDING_BYTES: usize = 4096;

/// The text in some output, and how many of its bytes it stands for. What is left is the start of a character or an escape
/// whose rest has not come; with `is_last` nothing is left.
pub fn plain(output: &[u8], is_last: bool) -> (String, usize) {
    let mut text = String::with_capacity(output.len());
    let mut at = 0;
    while let Some(rest) = output.get(at..).filter(|rest| !rest.is_empty()) {
        let piece = next_piece(rest);
        match piece {
            Piece::Text(characters, length) => {
                text.extend(characters.chars().filter_map(visible));
                at += length;
            }
            Piece::Return { length } => {
                text.push('\n');
                at += length;
            }
            Piece::Hidden { length } => at += length,
            Piece::Bad { length } => {
                text.push(char::REPLACEMENT_CHARACTER);
                at += length;
            }
            Piece::Unfinished if is_last || rest.len() > MAX_PENDING_BYTES => at += rest.len(),
            Piece::Unfinished => break,
        }
    }
    (text, at)
}

enum Piece<'a> {
    /// Text up to the next escape or return.
    Text(&'a str, usize),
    /// A carriage return, with its line feed if it has one.
    Return { length: usize },
    /// A complete escape.
    Hidden { length: usize },
    /// Bytes that are no UTF-8.
    Bad { length: usize },
    /// The start of something.
    Unfinished,
}

fn next_piece(rest: &[u8]) -> Piece<'_> {
    match rest {
        [0x1b, escape @ ..] => escape_length(escape)
            .map_or(Piece::Unfinished, |length| Piece::Hidden { length: length + 1 }),
        [b'\r', b'\n', ..] => Piece::Return { length: 2 },
        [b'\r'] => Piece::Unfinished,
        [b'\r', ..] => Piece::Return { length: 1 },
        _ => text_piece(rest),
    }
}

fn text_piece(rest: &[u8]) -> Piece<'_> {
    let end = rest.iter().position(|byte| matches!(byte, 0x1b | b'\r')).unwrap_or(rest.len());
    let run = &rest[..end];
    match std::str::from_utf8(run) {
        Ok(text) => Piece::Text(text, end),
        Err(error) if error.valid_up_to() > 0 => {
            let good = &run[..error.valid_up_to()];
            Piece::Text(std::str::from_utf8(good).unwrap_or_default(), good.len())
        }
        Err(error) => match error.error_len() {
            Some(length) => Piece::Bad { length },
            None if end < rest.len() => Piece::Bad { length: end },
            None => Piece::Unfinished,
        },
    }
}

/// The length of an escape after its ESC byte; none if its end has not come.
fn escape_length(escape: &[u8]) -> Option<usize> {
    match escape.first()? {
        b'[' => {
            let end = escape.iter().skip(1).position(|byte| !matches!(byte, 0x20..=0x3f))?;
            // A control sequence that is broken by another byte ends before it.
            let is_final = matches!(escape.get(end + 1), Some(0x40..=0x7e));
            Some(end + 1 + usize::from(is_final))
        }
        b']' | b'P' | b'X' | b'^' | b'_' => string_length(escape),
        0x20..=0x2f => {
            let end = escape.iter().position(|byte| !matches!(byte, 0x20..=0x2f))?;
            Some(end + usize::from(matches!(escape.get(end), Some(0x30..=0x7e))))
        }
        0x30..=0x7e => Some(1),
        _ => Some(0),
    }
}

/// The length of an escape that holds a string: up to BEL, or ESC and a backslash.
fn string_length(escape: &[u8]) -> Option<usize> {
    let end = escape.iter().position(|byte| matches!(byte, 0x07 | 0x1b))?;
    match (escape[end], escape.get(end + 1)) {
        (0x07, _) => Some(end + 1),
        (_, Some(b'\\')) => Some(end + 2),
        (_, Some(_)) => Some(end),
        (_, None) => None,
    }
}

/// What is shown of a character: controls are not, and those that turn the order of text would make it read as something
/// else.
pub fn visible(character: char) -> Option<char> {
    match character {
        '\n' | '\t' => Some(character),
        '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
            Some(char::REPLACEMENT_CHARACTER)
        }
        other if other.is_control() => None,
        other => Some(other),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn escapes_go_and_text_stays() {
        for (output, expected) in [
            ("plain\n", "plain\n"),
            ("\x1b[1;31mred\x1b[0m", "red"),
            ("\x1b]0;title\x07after", "after"),
            ("\x1b]8;;http://evil\x1b\\link\x1b]8;;\x1b\\", "link"),
            ("10%\r20%\r\ndone", "10%\n20%\ndone"),
            ("\x1bcreset\x1b(B", "reset"),
            ("bell\x07 back\x08 nul\0 del\x7f", "bell back nul del"),
            ("c1\u{9b}31m", "c131m"),
            ("rtl\u{202e}gnp", "rtl\u{fffd}gnp"),
            ("ünïcödé ✓", "ünïcödé ✓"),
        ] {
            assert_eq!(plain(output.as_bytes(), true).0, expected, "{output:?}");
        }
        assert_eq!(plain(b"a\xffb\xc3", true).0, "a\u{fffd}b");
    }

    #[test]
    fn an_escape_without_end_is_dropped_when_it_is_too_long() {
        let mut output = b"\x1b]0;".to_vec();
        assert_eq!(plain(&output, false), (String::new(), 0));
        output.resize(MAX_PENDING_BYTES + 1, b'x');
        assert_eq!(plain(&output, false), (String::new(), output.len()));
    }

    proptest! {
        #[test]
        fn whatever_the_cuts_the_text_is_the_same(
            pieces in proptest::collection::vec(prop_oneof![
                Just(b"\x1b[31m".to_vec()), Just("é✓".as_bytes().to_vec()), Just(b"\r\n".to_vec()),
                Just(b"\x1b]0;t\x07".to_vec()), proptest::collection::vec(any::<u8>(), 0..6),
            ], 0..20),
            cut in 1usize..7,
        ) {
            let whole: Vec<u8> = pieces.concat();
            let (expected, consumed) = plain(&whole, true);
            prop_assert_eq!(consumed, whole.len());
            let mut text = String::new();
            let mut pending = Vec::new();
            for chunk in whole.chunks(cut) {
                pending.extend_from_slice(chunk);
                let (part, used) = plain(&pending, false);
                text.push_str(&part);
                pending.drain(..used);
            }
            text.push_str(&plain(&pending, true).0);
            prop_assert_eq!(&text, &expected);
            let is_clean = text.chars().all(|c| !c.is_control() || matches!(c, '\n' | '\t'));
            prop_assert!(is_clean, "{:?}", text);
        }
    }
}
