//! The sums that test tools print at their end.

/// What was counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Totals {
    pub tests: u64,
    pub failed: u64,
    pub skipped: u64,
}

/// Adds up the sums of all tools that ran.
#[derive(Debug, Default)]
pub(super) struct Counts {
    sum: Option<Totals>,
    /// What cargo-nextest says about all binaries; the sums of the single ones are part of it.
    nextest: Option<Totals>,
}

impl Counts {
    pub(super) fn line(&mut self, line: &str) {
        let text = line.trim_start();
        if let Some(rest) = text.strip_prefix("test result: ") {
            let [passed, failed, skipped] =
                ["passed", "failed", "ignored"].map(|word| before(rest, word));
            self.add(Totals { tests: sum([passed, failed]), failed, skipped });
        } else if text.starts_with("Summary [") && text.contains(" run: ") {
            let [passed, failed, skipped] =
                ["passed", "failed", "skipped"].map(|word| before(text, word));
            self.nextest = Some(Totals { tests: sum([passed, failed]), failed, skipped });
        } else if line.starts_with("===") && line.ends_with("===") && line.contains(" in ") {
            let [passed, failed, errors, error] =
                ["passed", "failed", "errors", "error"].map(|word| before(line, word));
            let failed = sum([failed, errors, error]);
            self.add(Totals {
                tests: sum([passed, failed]),
                failed,
                skipped: before(line, "skipped"),
            });
        } else if let Some(rest) = line.strip_prefix("Ran ") {
            self.add(Totals {
                tests: before(rest, "tests").max(before(rest, "test")),
                ..Totals::default()
            });
        } else if let Some(rest) = line.strip_prefix("FAILED (") {
            let [failures, errors] = ["failures=", "errors="].map(|word| after(rest, word));
            self.add(Totals { failed: sum([failures, errors]), ..Totals::default() });
        } else if let Some(rest) = line.strip_prefix("# ").or(line.strip_prefix("ℹ ")) {
            self.node(rest);
        }
    }

    fn node(&mut self, text: &str) {
        let Some((word, number)) = text.split_once(' ') else { return };
        let Ok(number) = number.parse() else { return };
        match word {
            "tests" => self.add(Totals { tests: number, ..Totals::default() }),
            "fail" | "cancelled" => self.add(Totals { failed: number, ..Totals::default() }),
            "skipped" => self.add(Totals { skipped: number, ..Totals::default() }),
            _ => {}
        }
    }

    fn add(&mut self, more: Totals) {
        let sum = self.sum.get_or_insert_default();
        sum.tests = sum.tests.saturating_add(more.tests);
        sum.failed = sum.failed.saturating_add(more.failed);
        sum.skipped = sum.skipped.saturating_add(more.skipped);
    }

    pub(super) fn totals(&self) -> Option<Totals> {
        self.nextest.or(self.sum).filter(|totals| totals.tests > 0)
    }
}

fn sum<const N: usize>(numbers: [u64; N]) -> u64 {
    numbers.into_iter().fold(0, u64::saturating_add)
}

/// The number in front of a word; 0 if there is none.
fn before(text: &str, word: &str) -> u64 {
    let mut last = 0;
    for part in text.split([' ', ',', ';', '=']).filter(|part| !part.is_empty()) {
        if part == word {
            return last;
        }
        last = part.parse().unwrap_or(0);
    }
    0
}

/// The number behind a word; 0 if there is none.
fn after(text: &str, word: &str) -> u64 {
    let Some((_, rest)) = text.split_once(word) else { return 0 };
    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    rest[..digits].parse().unwrap_or(0)
}
