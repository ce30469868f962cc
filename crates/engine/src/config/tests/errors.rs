//! What bad files are told.

use super::*;

fn problems(text: &str) -> Vec<(&'static str, u32, u32)> {
    bad(text)
        .errors
        .iter()
        .map(|error| (error.problem.as_str(), error.position.line, error.position.column))
        .collect()
}

#[test]
fn errors_read_well() {
    let text = "\
version: 1
gates:
  unit:
    run: npm test
    tiemout: 10m
  lint:
    run: npm run lint
    needs: [unti]
";
    // The reference is checked although a key is wrong.
    assert_eq!(
        bad(text).to_string(),
        "\
.sandgate.yaml:5:5: error[config.unknown_key]: unknown key `tiemout` in `gates.unit`
  |
4 |     run: npm test
5 |     tiemout: 10m
  |     ^^^^^^^
6 |   lint:
help: did you mean `timeout`?

.sandgate.yaml:8:13: error[config.unknown_gate]: `needs` of gate `lint` names `unti`, which is no gate
  |
7 |     run: npm run lint
8 |     needs: [unti]
  |             ^^^^
help: did you mean `unit`?"
    );
}

#[test]
fn cycles_are_printed_as_a_path() {
    let text = "\
version: 1
gates:
  a: { run: x, needs: [b] }
  b: { run: x, from: c }
  c: { run: x, needs: [a] }
  alone: { run: x, needs: alone }
";
    assert_eq!(
        bad(text).to_string(),
        "\
.sandgate.yaml:5:24: error[config.cycle]: gates wait for each other: a -> b -> c -> a
  |
4 |   b: { run: x, from: c }
5 |   c: { run: x, needs: [a] }
  |                        ^
6 |   alone: { run: x, needs: alone }
help: remove one of the `needs` or `from` on the way

.sandgate.yaml:6:27: error[config.cycle]: gate `alone` waits for itself
  |
5 |   c: { run: x, needs: [a] }
6 |   alone: { run: x, needs: alone }
  |                           ^^^^^
help: remove one of the `needs` or `from` on the way"
    );
}

#[test]
fn values_are_told_what_they_should_be() {
    let text = "\
version: 1
gates:
  a: { run: x, timeout: 15, blocking: yes }
fail_fast: of
";
    assert_eq!(
        bad(text).to_string(),
        "\
.sandgate.yaml:3:25: error[config.duration]: `gates.a.timeout`: `15` is no duration
  |
2 | gates:
3 |   a: { run: x, timeout: 15, blocking: yes }
  |                         ^^
4 | fail_fast: of
help: write a duration such as `90s`, `15m` or `1h30m`

.sandgate.yaml:3:39: error[config.wrong_type]: `gates.a.blocking` must be true or false, and is text
  |
2 | gates:
3 |   a: { run: x, timeout: 15, blocking: yes }
  |                                       ^^^
4 | fail_fast: of

.sandgate.yaml:4:12: error[config.unknown_value]: `fail_fast` must be `off`, `blocking` or `any`, and is `of`
  |
3 |   a: { run: x, timeout: 15, blocking: yes }
4 | fail_fast: of
  |            ^^
help: did you mean `off`?"
    );
}

/// A gate with one bad entry: the entry, the code, the column in `  a: { run: x, …`.
#[test]
fn every_key_of_a_gate_checks_its_value() {
    for (entry, code, column) in [
        ("timeout: 0s", "config.duration", 25),
        ("timeout: -5m", "config.duration", 25),
        ("timeout: 25h", "config.duration", 25),
        ("timeout: [1m]", "config.wrong_type", 25),
        ("timeout:", "config.wrong_type", 16),
        ("blocking: 'true'", "config.wrong_type", 26),
        ("dir: /etc", "config.path", 21),
        ("dir: a/../../b", "config.path", 21),
        ("dir: ''", "config.path", 21),
        ("needs: nobody", "config.unknown_gate", 23),
        ("from: nobody", "config.unknown_gate", 22),
        ("needs: { a: 1 }", "config.wrong_type", 23),
        ("network: some", "config.unknown_value", 25),
        ("when: { paths: ['a['] }", "config.glob", 32),
        ("when: { paths: ['!a'] }", "config.glob", 32),
        ("when: { paths: ['../a'] }", "config.path", 32),
        ("when: { paths: [] }", "config.empty_value", 31),
        ("when: { base: [] }", "config.empty_value", 30),
        ("when: { bases: [a] }", "config.unknown_key", 24),
        ("when: [a]", "config.wrong_type", 22),
        ("reports: { junit: /x.xml }", "config.path", 34),
        ("reports: { junit: ../x.xml }", "config.path", 34),
        ("reports: { junits: x }", "config.unknown_key", 27),
        ("debug: { keep: 31d }", "config.duration", 31),
        ("resources: { cpu: 0 }", "config.number", 34),
        ("resources: { memory: 4G }", "config.size", 37),
        ("resources: { disk: 1Ki }", "config.size", 35),
        ("resources: { pids: 0 }", "config.number", 35),
        ("resources: { pids: 1.5 }", "config.number", 35),
        ("env: { CI: 'false' }", "config.variable", 23),
        ("env: { 'A-B': x }", "config.variable", 23),
        ("env: { A: [x] }", "config.wrong_type", 26),
        ("env: { A: }", "config.wrong_type", 23),
        ("env: x", "config.wrong_type", 21),
        ("retry: { gate: 11 }", "config.number", 31),
        ("retry: { gate: -1 }", "config.number", 31),
        ("retry: 2", "config.wrong_type", 23),
    ] {
        let text = format!("version: 1\ngates:\n  a: {{ run: x, {entry} }}\n");
        assert_eq!(problems(&text), [(code, 3, column)], "{entry}\n{}", bad(&text));
    }
}

#[test]
fn commands_must_do_something() {
    for (run, code) in [
        ("''", "config.empty_value"),
        ("[]", "config.empty_value"),
        ("['  ']", "config.empty_value"),
        ("[x, ~]", "config.empty_value"),
        ("", "config.wrong_type"),
        ("{ a: b }", "config.wrong_type"),
        ("[[x]]", "config.wrong_type"),
        ("\"a\\0b\"", "config.nul"),
    ] {
        let text = format!("version: 1\ngates:\n  a:\n    run: {run}\n");
        let found = problems(&text);
        assert!(matches!(found[..], [(found, 4, _)] if found == code), "{run}: {found:?}");
    }
}

#[test]
fn the_frame_of_the_file_is_checked() {
    for (text, code, line, column) in [
        ("", "config.empty", 1, 1),
        ("# nothing\n", "config.empty", 1, 1),
        ("- a\n", "config.wrong_type", 1, 1),
        ("hello", "config.wrong_type", 1, 1),
        ("gates: { a: { run: x } }\n", "config.missing_key", 1, 1),
        ("version: 2\ngates: { a: { run: x } }\n", "config.version", 1, 10),
        ("version: [1]\ngates: { a: { run: x } }\n", "config.wrong_type", 1, 10),
        ("version: 1\n", "config.no_gates", 1, 1),
        ("version: 1\ngates:\n", "config.no_gates", 2, 1),
        ("version: 1\ngates: {}\n", "config.no_gates", 2, 1),
        ("version: 1\ngates: [a]\n", "config.wrong_type", 2, 8),
        ("version: 1\ngates: { a: x }\n", "config.wrong_type", 2, 13),
        ("version: 1\ngates: { a: {} }\n", "config.missing_key", 2, 13),
        ("version: 1\ngates: { a/b: { run: x } }\n", "config.gate_name", 2, 10),
        ("version: 1\ngates: { a: { run: x } }\napprove_from: b\n", "config.unknown_gate", 3, 15),
        ("version: 1\ngates: { a: { run: x } }\ngate: 1\n", "config.unknown_key", 3, 1),
        (
            "version: 1\ngates: { a: { run: x } }\ncancel: { push: 1 }\n",
            "config.unknown_key",
            3,
            11,
        ),
        ("version: 1\ngates:\n  a: { run: x }\n  a: { run: y }\n", "config.duplicate_key", 4, 3),
        ("version: 1\nversion: 1\n", "config.duplicate_key", 2, 1),
        ("version: 1\n\tgates: x\n", "config.tab", 2, 1),
        ("version: 1\ngates:\n\ta: { run: x }\n", "config.tab", 3, 1),
        ("version: 1\ngates:\n  a:\n  \trun: x\n", "config.tab", 4, 3),
        ("version: 1\nx\0y: 1\n", "config.nul", 2, 2),
        ("version: 1\n---\nversion: 1\n", "config.several_documents", 2, 1),
        ("a: b: c\n", "config.syntax", 1, 5),
        ("a: {\n", "config.syntax", 1, 4),
        ("a: \"open\n", "config.syntax", 1, 9),
        ("a: *b\n", "config.alias", 1, 4),
        ("a: &a [*a]\n", "config.alias", 1, 8),
        ("a: !!str x\n", "config.tag", 1, 10),
        ("<<: { a: b }\n", "config.merge_key", 1, 1),
        ("? [a]\n: b\n", "config.key_type", 1, 3),
    ] {
        assert_eq!(problems(text), [(code, line, column)], "{text}\n{}", bad(text));
    }
}

#[test]
fn sizes_are_bounded() {
    let bomb = "a: &a [x,x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a,*a]\n\
                c: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c,*c]\n\
                e: [*d,*d,*d,*d,*d,*d,*d,*d,*d,*d]\n";
    let long_scalar = format!("a: &a {}\nb: [{}]\n", "x".repeat(100_000), "*a,".repeat(1000));
    let deep_flow = format!("a: {}", "[".repeat(10_000));
    let deep_block: String = (0..500).map(|depth| format!("{}a:\n", " ".repeat(depth))).collect();
    let gates: String = (0..=MAX_GATES).map(|n| format!("  g{n}: {{ run: x }}\n")).collect();
    for (text, code) in [
        (bomb.to_owned(), "config.too_many_nodes"),
        (long_scalar, "config.too_many_nodes"),
        (deep_flow, "config.too_deep"),
        (deep_block, "config.too_deep"),
        ("x".repeat(MAX_BYTES + 1), "config.too_large"),
        ("x".repeat(10 << 20), "config.too_large"),
        (format!("version: 1\ngates:\n{gates}"), "config.too_many_gates"),
        (
            format!("version: 1\ngates: {{ a: {{ run: [{}] }} }}", "x,".repeat(65)),
            "config.too_long",
        ),
        (
            format!("version: 1\ngates: {{ a: {{ run: {} }} }}", "x".repeat(100 << 10)),
            "config.too_long",
        ),
    ] {
        let errors = bad(&text);
        assert_eq!(errors.errors[0].problem.as_str(), code, "{errors}");
        assert!(errors.to_string().len() < 2000, "{code}");
    }
}

#[test]
fn many_errors_are_counted_not_printed() {
    let text: String = (0..500).map(|n| format!("key{n}: 1\n")).collect();
    let errors = bad(&format!("version: 1\ngates: {{ a: {{ run: x }} }}\n{text}"));
    assert_eq!((errors.errors.len(), errors.more), (50, 450));
    assert!(errors.to_string().ends_with("\n\nand 450 more errors"));
}

#[test]
fn a_long_circle_is_shortened() {
    let gates: String =
        (0..200).map(|n| format!("  g{n}: {{ run: x, needs: g{} }}\n", (n + 1) % 200)).collect();
    let errors = bad(&format!("version: 1\ngates:\n{gates}"));
    let message = &errors.errors[0].message;
    assert!(message.ends_with("g10 -> g11 -> … 188 more -> g0"), "{message}");
}

#[test]
fn hostile_text_is_printed_harmlessly() {
    let shown = bad("version: 1\n\"\\e[2Jx\": \u{202e}1\n").to_string();
    assert!(shown.chars().all(|c| c == '\n' || !c.is_control() && c != '\u{202e}'), "{shown:?}");
}

#[test]
fn codes_are_unique() {
    let mut codes: Vec<&str> = Problem::ALL.iter().map(|problem| problem.as_str()).collect();
    codes.sort_unstable();
    codes.dedup();
    assert_eq!(codes.len(), Problem::ALL.len());
    assert!(codes.iter().all(|code| code.starts_with("config.")));
}

mod any_text {
    use proptest::prelude::*;

    use super::super::*;

    /// Lines that look like the file, in any order and depth.
    fn almost_a_file() -> impl Strategy<Value = String> {
        let word = proptest::sample::select(vec![
            "version: 1",
            "gates:",
            "a:",
            "b: { run: x, needs: [a] }",
            "run: x",
            "needs: b",
            "from: a",
            "- x",
            "when: { paths: ['{a,{b']}",
            "*a",
            "&a x",
            "timeout: 5m",
            "\t",
            "? x",
            ": y",
            "\"",
            "'",
            "{",
            "]",
            "|",
            ">-",
            "---",
            "...",
            "%YAML 1.2",
            "!x",
            "é: ü",
            "env: { A: 1 }",
            "defaults: *a",
            "defaults: &a",
            "\u{feff}",
            "#",
            "\r",
            "\0",
        ]);
        proptest::collection::vec((0_usize..5, word), 0..25).prop_map(|lines| {
            lines.iter().map(|(depth, word)| format!("{}{word}\n", "  ".repeat(*depth))).collect()
        })
    }

    proptest! {
        #[test]
        fn is_a_config_or_placed_errors(text in prop_oneof![".{0,200}", almost_a_file()]) {
            match parse(&text, "f") {
                Ok(parsed) => prop_assert!(!parsed.config.gates.is_empty()),
                Err(errors) => {
                    prop_assert!(!errors.errors.is_empty());
                    for error in &errors.errors {
                        prop_assert!(error.position.line >= 1 && error.position.column >= 1);
                        prop_assert!(error.position.line as usize <= source::lines(&text).count().max(1));
                    }
                }
            }
        }
    }
}
