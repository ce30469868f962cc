//! Which subjects a filter matches: `*` is any one word, a last `>` is one word or more.

/// Whether `filter` matches `subject`.
pub(super) fn matches(filter: &str, subject: &str) -> bool {
    let mut words = subject.split('.');
    let mut patterns = filter.split('.').peekable();
    while let Some(pattern) = patterns.next() {
        let Some(word) = words.next() else { return false };
        if pattern == ">" && patterns.peek().is_none() {
            return true;
        }
        if pattern != "*" && pattern != word {
            return false;
        }
    }
    words.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn a_table_of_filters() {
        for (filter, subject, wanted) in [
            ("a.b.c", "a.b.c", true),
            ("a.b.c", "a.b", false),
            ("a.b", "a.b.c", false),
            ("a.*.c", "a.b.c", true),
            ("a.*.c", "a.b.d", false),
            ("a.*", "a.b.c", false),
            ("a.>", "a.b.c", true),
            ("a.>", "a.b", true),
            ("a.>", "a", false),
            (">", "a.b.c", true),
            ("a.>.c", "a.b.c", false),
            ("*.*.*", "a.b.c", true),
            ("ab", "a", false),
        ] {
            assert_eq!(matches(filter, subject), wanted, "{filter} {subject}");
        }
    }
}
