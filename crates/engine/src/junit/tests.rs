//! Reports of the tools that people use.

use proptest::prelude::*;

use super::*;

fn read(text: &str) -> JunitReport {
    parse(text.as_bytes(), Limits::default()).unwrap()
}

fn failure(name: &str, class: &str, place: Option<(&str, u32)>, message: &str) -> TestFailure {
    TestFailure {
        name: name.to_owned(),
        class: Some(class.to_owned()),
        file: place.map(|(file, _)| file.to_owned()),
        line: place.map(|(_, line)| line),
        message: message.to_owned(),
    }
}

#[track_caller]
fn expect(text: &str, counts: (u64, u64, u64, u64), failures: &[TestFailure]) {
    let report = read(text);
    assert_eq!((report.tests, report.failed, report.errors, report.skipped), counts);
    assert_eq!(report.failures, failures);
}

#[test]
fn pytest() {
    expect(
        include_str!("tests/pytest.xml"),
        (4, 1, 1, 1),
        &[
            failure(
                "test_total",
                "tests.test_cart",
                Some(("tests/test_cart.py", 14)),
                "assert 3 == 4",
            ),
            failure(
                "test_broken",
                "tests.test_cart",
                Some(("tests/conftest.py", 7)),
                "failed on setup with \"ValueError: no database\"",
            ),
        ],
    );
}

#[test]
fn cargo_nextest() {
    expect(
        include_str!("tests/nextest.xml"),
        (3, 1, 0, 0),
        &[failure(
            "tests::adds",
            "shop",
            Some(("crates/shop/src/lib.rs", 12)),
            "thread 'tests::adds' (4711) panicked at crates/shop/src/lib.rs:12:9",
        )],
    );
}

#[test]
fn jest_junit() {
    expect(
        include_str!("tests/jest.xml"),
        (2, 1, 0, 0),
        &[failure(
            "cart adds",
            "cart adds",
            Some(("/repo/src/cart.test.js", 5)),
            "Error: expect(received).toBe(expected) // Object.is equality",
        )],
    );
}

#[test]
fn gotestsum() {
    expect(
        include_str!("tests/gotestsum.xml"),
        (3, 1, 0, 1),
        &[failure("TestTotal", "example.com/shop/cart", Some(("cart_test.go", 10)), "Failed")],
    );
}

#[test]
fn maven_surefire() {
    expect(
        include_str!("tests/surefire.xml"),
        (3, 1, 1, 0),
        &[
            failure(
                "adds",
                "com.example.CartTest",
                Some(("CartTest.java", 25)),
                "expected:<4> but was:<3>",
            ),
            failure(
                "removes",
                "com.example.CartTest",
                Some(("CartTest.java", 31)),
                "java.lang.NullPointerException",
            ),
        ],
    );
}

#[test]
fn entities_are_not_expanded() {
    let text = "<!DOCTYPE x [<!ENTITY a \"aaaaaaaaaa\"><!ENTITY b \"&a;&a;&a;\">]>\n\
        <testsuite><testcase name=\"&b; &lt;1&gt;\"><failure>&b; &amp; &#65;</failure></testcase></testsuite>";
    let report = read(text);
    assert_eq!(report.failures[0].message, "&b; & A");
    assert_eq!(report.failures[0].name, "&b; &lt;1&gt;");
}

#[test]
fn unusual_but_readable() {
    let bytes = b"\xef\xbb\xbf \n<testsuites><testsuite><testcase name='a'><failure/><error message='late'/></testcase>\
                  <testcase name='b\xff'><failure message='x\x1b[31m'/></testcase></testsuite></testsuites>";
    let report = parse(bytes, Limits::default()).unwrap();
    assert_eq!((report.tests, report.failed, report.errors), (2, 2, 0));
    assert_eq!(report.failures[1].name, "b\u{fffd}");
    assert_eq!(report.failures[1].message, "x\u{fffd}[31m");
    assert_eq!(read("<testsuite/>"), JunitReport::default());
}

#[test]
fn what_can_not_be_read_is_named() {
    let error = |text: &str| parse(text.as_bytes(), Limits::default()).unwrap_err().to_string();
    assert_eq!(error("<html></html>"), "the report has no `testsuite` element, so it is not JUnit");
    assert_eq!(error(""), "the report has no `testsuite` element, so it is not JUnit");
    assert_eq!(
        error("<testsuite><testcase name='a'>"),
        "the report ends in the middle; was its writer ended early?"
    );
    assert_eq!(error("<testsuite></testsuites>"), "the report is not XML at byte 11");
    assert_eq!(error(&"<a>".repeat(65)), "the report is nested deeper than 64 elements");
    let limits = Limits { bytes: 3, ..Limits::default() };
    let error = parse(b"<a/>", limits).unwrap_err();
    assert_eq!(error.to_string(), "the report has 4 bytes; at most 3 are read");
}

#[test]
fn what_is_kept_is_bounded() {
    let case = format!("<testcase name='t'><failure>{}</failure></testcase>", "x".repeat(10_000));
    let report = read(&format!("<testsuite>{}</testsuite>", case.repeat(500)));
    assert_eq!((report.tests, report.failed, report.failures.len()), (500, 500, 100));
    assert!(report.failures.iter().all(|failure| failure.message.chars().count() <= 2001));
    let attributes: String = (0..50_000).map(|n| format!(" a{n}='1'")).collect();
    assert_eq!(read(&format!("<testsuite><testcase{attributes}/></testsuite>")).tests, 1);
}

#[test]
fn reports_add_up_and_unreadable_ones_are_warnings() {
    let limits = Limits { failures: 3, ..Limits::default() };
    let one = || Ok(read(include_str!("tests/surefire.xml")));
    let bad = parse(b"<html/>", limits);
    let files =
        vec![("a.xml".to_owned(), one()), ("b.xml".to_owned(), one()), ("c.xml".to_owned(), bad)];
    let summary = summarise(files, limits);
    assert_eq!((summary.report.tests, summary.report.failed, summary.report.errors), (6, 2, 2));
    assert_eq!(summary.report.failures.len(), 3);
    let warning = "c.xml: the report has no `testsuite` element, so it is not JUnit";
    assert_eq!(summary.warnings, [warning]);
    assert_eq!(summarise(vec![], limits).warnings, ["no file matches `reports.junit`"]);
}

proptest! {
    #[test]
    fn any_bytes_are_a_report_or_an_error(
        pieces in proptest::collection::vec(proptest::sample::select(vec![
            "<testsuite>", "</testsuite>", "<testcase name='a'>", "<testcase ", "</testcase>", "<failure>",
            "<failure message='a.rs:1'", "</failure>", "/>", ">", "<![CDATA[", "]]>", "<!--", "-->", "&", "&#0;",
            "&lt;", "<?xml?>", "ü.rs:3", "\"", "'", "a='", "<!DOCTYPE", "[", "\0",
        ]), 0..30),
        bytes in proptest::collection::vec(any::<u8>(), 0..20),
    ) {
        let mut text = pieces.concat().into_bytes();
        text.extend(bytes);
        if let Ok(report) = parse(&text, Limits::default()) {
            prop_assert!(report.failed + report.errors + report.skipped <= report.tests);
        }
    }
}
