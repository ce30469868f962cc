//! Text from a pull request in Markdown: always inside a code span, where a forge makes no mention, link, image,
//! reference, emoji or HTML of it. Our own words are the only Markdown in our texts.

/// A code span with at most `characters` of the text.
pub(crate) fn code(text: &str, characters: usize) -> String {
    let shown = line(text, characters);
    let fence = "`".repeat(longest_run(&shown) + 1);
    let needs_room = shown.starts_with(['`', ' ']) || shown.ends_with(['`', ' ']);
    match shown.as_str() {
        "" => "`(empty)`".to_owned(),
        _ if needs_room => format!("{fence} {shown} {fence}"),
        _ => format!("{fence}{shown}{fence}"),
    }
}

/// The same inside a table, whose cells end at a pipe wherever it stands.
pub(crate) fn cell(text: &str, characters: usize) -> String {
    code(&text.replace('|', "¦"), characters)
}

/// One line of plain text: no control characters, no terminal sequences, nothing that turns or hides text.
pub(crate) fn line(text: &str, characters: usize) -> String {
    let visible = visible(text);
    let flat = visible.map(|c| if c.is_whitespace() { ' ' } else { c });
    shorten(flat, characters).trim().to_owned()
}

/// The same with its line breaks.
pub(crate) fn lines(text: &str, characters: usize) -> String {
    shorten(visible(text), characters).trim().to_owned()
}

/// A web address that can stand in a Markdown link, and nothing else.
pub(crate) fn link(address: &str) -> Option<&str> {
    let is_web = address.starts_with("https://") || address.starts_with("http://");
    let is_plain = |byte: u8| byte.is_ascii_graphic() && !b"<>()[]\\`\"'|".contains(&byte);
    (is_web && address.len() <= 1_000 && address.bytes().all(is_plain)).then_some(address)
}

/// An argument for a POSIX shell.
pub(crate) fn shell_word(text: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._/:=@%+,-".contains(&byte);
    if !text.is_empty() && text.bytes().all(is_plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

fn shorten(text: impl Iterator<Item = char>, characters: usize) -> String {
    let mut shown: String = text.take(characters + 1).collect();
    if shown.chars().count() > characters {
        shown.pop();
        shown.pop();
        shown.push('…');
    }
    shown
}

fn longest_run(text: &str) -> usize {
    text.split(|c| c != '`').map(str::len).max().unwrap_or(0)
}

/// Everything that shows as itself; terminal sequences are left out, other invisible characters replaced.
fn visible(text: &str) -> impl Iterator<Item = char> + '_ {
    let mut rest = text.chars().peekable();
    std::iter::from_fn(move || {
        loop {
            let next = rest.next()?;
            match next {
                '\n' => return Some('\n'),
                '\t' => return Some(' '),
                '\r' => {}
                '\u{1b}' => skip_sequence(&mut rest),
                c if is_hidden(c) => return Some('\u{fffd}'),
                c => return Some(c),
            }
        }
    })
}

fn skip_sequence(rest: &mut std::iter::Peekable<std::str::Chars<'_>>) {
    if rest.next_if_eq(&'[').is_none() {
        return;
    }
    while rest.next_if(|c| matches!(c, '0'..='?' | ' '..='/')).is_some() {}
    rest.next_if(|c| matches!(c, '@'..='~'));
}

/// Controls, directions, joiners and tags: what makes text look like other text.
fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{180e}' | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn fences_are_longer_than_what_they_hold() {
        for (text, expected) in [
            ("a", "`a`"),
            ("a`b", "``a`b``"),
            ("```", "```` ``` ````"),
            ("`", "`` ` ``"),
            ("", "`(empty)`"),
            ("\n \u{1b}[0m", "`(empty)`"),
            ("@everyone <b>![x](y)", "`@everyone <b>![x](y)`"),
            ("a\r\nb\u{202e}c\0", "`a b\u{fffd}c\u{fffd}`"),
            ("\u{1b}[1;31mred\u{1b}[0m\u{1b}]x", "`red]x`"),
        ] {
            assert_eq!(code(text, 100), expected, "{text:?}");
        }
        assert_eq!(code("abcdef", 4), "`abc…`");
        assert_eq!(code("abcd", 4), "`abcd`");
        assert_eq!(cell("a|b\\|c", 100), "`a¦b\\¦c`");
    }

    #[test]
    fn only_plain_web_addresses_are_linked() {
        assert!(link("https://example.org/runs/run_1?x=1#y").is_some());
        for bad in
            ["javascript:alert(1)", "https://x/) @all", "https://x/\n", "//x", "https://x/<b>"]
        {
            assert_eq!(link(bad), None, "{bad}");
        }
    }

    #[test]
    fn shell_words_are_words() {
        for text in ["unit", "unit (node=20)", "$(id)", "a'b", "", "`id`", "a\\", "a;b", "é"] {
            let script = format!("printf %s {}", shell_word(text));
            let output = std::process::Command::new("sh").args(["-c", &script]).output().unwrap();
            assert_eq!(String::from_utf8(output.stdout).unwrap(), text);
        }
    }

    proptest! {
        #[test]
        fn a_span_closes_only_at_its_end(text in "[`a|\\\\\n\u{202e} @<]{0,40}", characters in 1_usize..50) {
            for span in [code(&text, characters), cell(&text, characters)] {
                let fence = span.chars().take_while(|c| *c == '`').count();
                let inside = &span[fence..span.len() - fence];
                prop_assert!(longest_run(inside) < fence, "{span}");
                prop_assert!(!inside.starts_with('`') && !inside.ends_with('`'));
                prop_assert!(!span.contains(['\n', '\u{202e}']), "{span}");
            }
            prop_assert!(!cell(&text, characters).contains('|'));
        }
    }
}
