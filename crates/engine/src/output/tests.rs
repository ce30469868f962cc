//! What real tools write, and what nobody should.

use proptest::prelude::*;

use super::*;

fn read(text: &str) -> Found {
    let mut reader = Reader::default();
    reader.feed(text.as_bytes());
    reader.finish()
}

/// Name, file, line and message of the failures.
fn failures(found: &Found) -> Vec<(&str, Option<&str>, Option<u32>, &str)> {
    let shown = |failure: &'_ TestFailure| failure.line;
    let all = found.failures.iter();
    all.map(|failure| {
        (failure.name.as_str(), failure.file.as_deref(), shown(failure), failure.message.as_str())
    })
    .collect()
}

const CARGO: &str = "
running 2 tests
test tests::good ... ok
test tests::bad ... FAILED

failures:

---- tests::bad stdout ----

thread 'tests::bad' (116) panicked at crates/app/src/main.rs:7:5:
assertion `left == right` failed
  left: \"7\"
 right: \"8\"
note: run with `RUST_BACKTRACE=1` environment variable to display a backtrace


failures:
    tests::bad

test result: FAILED. 1 passed; 1 failed; 3 ignored; 0 measured; 0 filtered out; finished in 0.00s
";

#[test]
fn cargo() {
    let found = read(CARGO);
    let bad =
        ("tests::bad", Some("crates/app/src/main.rs"), Some(7), "assertion `left == right` failed");
    assert_eq!(failures(&found), [bad]);
    assert_eq!((found.tests, found.failed, found.skipped), (Some(2), 1, 3));
}

#[test]
fn nextest_repeats_the_harness_and_has_the_true_sum() {
    let inner: String = CARGO.lines().map(|line| format!("    {line}\n")).collect();
    let text = format!(
        "        FAIL [   0.003s] (1/9) app tests::bad\n  stdout ───\n{inner}\n\u{1b}[31;1m     Summary\u{1b}[0m [   0.01s] 9 tests run: 8 passed, 1 failed, 2 skipped\n"
    );
    let found = read(&text);
    assert_eq!(found.failures.len(), 1);
    assert_eq!(found.failures[0].line, Some(7));
    assert_eq!((found.tests, found.failed, found.skipped), (Some(9), 1, 2));
}

#[test]
fn node_writes_tap() {
    let found = read(
        "TAP version 13
# Subtest: outer
    # Subtest: inner one
    not ok 1 - inner one
      ---
      location: '/workspace/a.test.js:2:27'
      failureType: 'testCodeFailure'
      error: '1 == 2'
      stack: |-
        TestContext.<anonymous> (/workspace/a.test.js:2:60)
        Test.runInAsyncScope (node:async_hooks:206:9)
      ...
    1..2
not ok 1 - outer
  ---
  location: '/workspace/a.test.js:2:1'
  failureType: 'subtestsFailed'
  error: '1 subtest failed'
  ...
not ok 2 - later # TODO not yet
# Subtest: plain
not ok 3 - plain
  ---
  location: '/workspace/a.test.js:3:1'
  error: \"'a' == 'b'\"
  stack: |-
    check (/workspace/b.js:33:29)
  ...
1..3
# tests 4
# pass 1
# fail 2
# skipped 0
",
    );
    let inner = ("inner one", Some("/workspace/a.test.js"), Some(2), "1 == 2");
    let plain = ("plain", Some("/workspace/b.js"), Some(33), "'a' == 'b'");
    assert_eq!(failures(&found), [inner, plain]);
    assert_eq!((found.tests, found.failed), (Some(4), 2));
}

#[test]
fn node_writes_for_people() {
    let found = read(
        "▶ outer
  ✖ inner one (1.44216ms)
    AssertionError [ERR_ASSERTION]: 1 == 2
        at TestContext.<anonymous> (/workspace/a.test.js:2:60)
✖ outer (2.50721ms)
ℹ tests 2
ℹ fail 1
✖ failing tests:

test at a.test.js:1:27
✖ inner one (1.44216ms)
  AssertionError [ERR_ASSERTION]: 1 == 2
      at TestContext.<anonymous> (/workspace/a.test.js:2:60)
",
    );
    let inner = (
        "inner one",
        Some("/workspace/a.test.js"),
        Some(2),
        "AssertionError [ERR_ASSERTION]: 1 == 2",
    );
    assert_eq!(failures(&found), [inner]);
    assert_eq!((found.tests, found.failed), (Some(2), 1));
}

#[test]
fn pytest() {
    let found = read(
        "=================================== FAILURES ===================================
___________________________________ test_bad ___________________________________

    def test_bad():
>       assert text(1) == \"2\"
E       AssertionError: assert '1' == '2'
E         - 2

tests/test_thing.py:4: AssertionError
=========================== short test summary info ============================
FAILED tests/test_thing.py::test_bad - AssertionError: assert '1' == '2'
========================= 1 failed, 2 passed, 1 skipped in 0.04s ==========================
",
    );
    let bad =
        ("test_bad", Some("tests/test_thing.py"), Some(4), "AssertionError: assert '1' == '2'");
    assert_eq!(failures(&found), [bad]);
    assert_eq!((found.tests, found.failed, found.skipped), (Some(3), 1, 1));
}

#[test]
fn unittest() {
    let found = read(
        "F.
======================================================================
FAIL: test_bad (tests.test_a.A.test_bad)
----------------------------------------------------------------------
Traceback (most recent call last):
  File \"/workspace/tests/test_a.py\", line 5, in test_bad
    self.assertEqual(1, 2)
AssertionError: 1 != 2

----------------------------------------------------------------------
Ran 2 tests in 0.001s

FAILED (failures=1)
",
    );
    let bad = ("test_bad", Some("/workspace/tests/test_a.py"), Some(5), "AssertionError: 1 != 2");
    assert_eq!(failures(&found), [bad]);
    assert_eq!((found.tests, found.failed), (Some(2), 1));
}

#[test]
fn go_does_not_tell_how_many_tests_there_were() {
    let found = read(
        "--- FAIL: TestSum (0.00s)
    --- FAIL: TestSum/small (0.00s)
        sum_test.go:12: got 1, want 2
FAIL
FAIL\texample.com/sum\t0.002s
",
    );
    assert_eq!(
        failures(&found),
        [("TestSum/small", Some("sum_test.go"), Some(12), "got 1, want 2")]
    );
    assert_eq!((found.tests, found.failed), (None, 1));
}

#[test]
fn hints_at_the_sandbox() {
    for (line, hint) in [
        ("npm error code EAI_AGAIN", Some(Hint::Unreachable)),
        ("curl: (6) Could not resolve host: example.com", Some(Hint::Unreachable)),
        ("touch: cannot touch '/usr/bin/x': Read-only file system", Some(Hint::ReadOnly)),
        ("all is well", None),
    ] {
        assert_eq!(read(line).hints.into_iter().next(), hint, "{line}");
    }
}

#[test]
fn output_is_bounded() {
    let mut reader = Reader::default();
    for number in 0..10_000 {
        reader.feed(format!("--- FAIL: Test{number} (0.00s)\n{}", "x\n".repeat(100)).as_bytes());
    }
    reader.feed(&vec![b'x'; 1 << 20]);
    assert!(reader.line.len() <= LINE_BYTES);
    let found = reader.finish();
    assert_eq!(found.failures.len(), FAILURES);
}

proptest! {
    #[test]
    fn any_bytes_in_any_pieces_are_read_alike(text in "(---- |stdout ----|not ok |test result: |[a-z0-9 \n'✖\u{1b}\\[=_:.;]){0,80}", cut in 0usize..200) {
        let bytes = text.as_bytes();
        let mut pieces = Reader::default();
        let (head, tail) = bytes.split_at(cut.min(bytes.len()));
        pieces.feed(head);
        pieces.feed(tail);
        prop_assert_eq!(pieces.finish(), read(&text));
    }
}
