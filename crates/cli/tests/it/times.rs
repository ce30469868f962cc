//! The time rule: a gate builds from the sources of the commit, whatever a setup below it has compiled before.

use std::process::Command;

use crate::world::{World, gate, skip};

/// The setup compiles with an empty `main.c` and an older `part.c`; the gate must not take either for built.
const MAKE: &str = "version: 1
environment:
  setup:
    run: |
      echo 'int main(void) { return 42; }' > main.c
      make --silent
      ls
    inputs: [Makefile, part.c]
    placeholders: [main.c]
gates:
  build:
    run: |
      make
      ./program
";
const MAKEFILE: &str = "program: main.o part.o
\tcc -o program main.o part.o
%.o: %.c
\tcc -c -o $@ $<
";
const PART: &str = "int part(void) { return 7; }\n";

fn main_c(text: &str) -> String {
    format!(
        "#include <stdio.h>\nint part(void);\nint main(void) {{ printf(\"{text} %d\\n\", part()); return 0; }}\n"
    )
}

fn has(program: &str, test: &str) -> bool {
    let found = Command::new(program).arg("--version").output().is_ok();
    if !found {
        skip(test, &format!("{program} is not installed"));
    }
    found
}

#[test]
fn make_rebuilds_what_changed_over_a_setup_and_nothing_else() {
    let test = "make_rebuilds_what_changed_over_a_setup_and_nothing_else";
    if !has("make", test) || !has("cc", test) {
        return;
    }
    let world = World::with_files(&[
        (".sandgate.yaml", MAKE),
        ("Makefile", MAKEFILE),
        ("part.c", PART),
        ("main.c", &main_c("one")),
    ]);
    let (ended, run) = world.run(&["--ref", "HEAD"]);
    assert_eq!(ended.code, 0, "{}\n{}", ended.stderr, world.sandgate(&["logs", "build"]).stdout);
    assert_eq!(run["setup"]["reason"], serde_json::Value::Null);
    assert!(world.sandgate(&["logs", "setup"]).stdout.contains("program"));
    let log = world.sandgate(&["logs", "build", "--stream", "stdout"]).stdout;
    assert!(log.ends_with("one 7\n"), "{log}");
    assert!(log.contains("main.o main.c"), "{log}");
    // The input of the setup has not changed since, so what was built of it stays.
    assert!(!log.contains("part.o part.c"), "{log}");

    // Another source of the same size, in a commit and in the working tree.
    for (text, arguments) in [("two", &["--ref", "HEAD"][..]), ("six", &[])] {
        world.write("main.c", &main_c(text));
        if !arguments.is_empty() {
            world.commit(text);
        }
        let (ended, run) = world.run(arguments);
        assert_eq!(ended.code, 0, "{}", ended.stderr);
        assert_eq!(run["setup"]["reason"], "its layer was there already");
        let log = world.sandgate(&["logs", "build", "--stream", "stdout"]).stdout;
        assert!(log.ends_with(&format!("{text} 7\n")), "{log}");
    }

    // A source with an old time is still newer than the setup.
    world.write("main.c", &main_c("old"));
    let file =
        std::fs::File::options().write(true).open(world.repository().join("main.c")).unwrap();
    let old = std::time::UNIX_EPOCH + std::time::Duration::from_secs(86_400);
    file.set_modified(old).unwrap();
    let (ended, _) = world.run(&[]);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    let log = world.sandgate(&["logs", "build", "--stream", "stdout"]).stdout;
    assert!(log.ends_with("old 7\n"), "{log}");
}

const CARGO: &str = "version: 1
environment:
  setup:
    run: 'echo \"fn main() {}\" > src/main.rs; cargo build --offline'
    inputs: [Cargo.toml, Cargo.lock]
    placeholders: [src/main.rs, src/lib.rs]
gates:
  show: { run: 'cargo run --offline --quiet' }
";

#[test]
fn cargo_rebuilds_the_real_program_over_a_setup_with_placeholders() {
    if !has("cargo", "cargo_rebuilds_the_real_program_over_a_setup_with_placeholders") {
        return;
    }
    let main_rs =
        |text: &str| format!("fn main() {{ println!(\"{text} {{}}\", thing::part()); }}\n");
    let world = World::with_files(&[
        (".sandgate.yaml", CARGO),
        (".gitignore", "target\n"),
        ("Cargo.toml", "[package]\nname = \"thing\"\nversion = \"0.1.0\"\nedition = \"2021\"\n"),
        ("Cargo.lock", "version = 3\n\n[[package]]\nname = \"thing\"\nversion = \"0.1.0\"\n"),
        ("src/main.rs", &main_rs("one")),
        ("src/lib.rs", "pub fn part() -> u8 { 7 }\n"),
    ]);
    let (ended, run) = world.run(&["--ref", "HEAD"]);
    let setup = world.sandgate(&["logs", "setup"]).stdout;
    assert_eq!(
        ended.code,
        0,
        "{}\n{setup}\n{}",
        ended.stderr,
        world.sandgate(&["logs", "show"]).stdout
    );
    assert_eq!(run["setup"]["reason"], serde_json::Value::Null);
    assert!(setup.contains("Compiling thing"), "{setup}");
    let shown = |world: &World| world.sandgate(&["logs", "show", "--stream", "stdout"]).stdout;
    assert_eq!(shown(&world), "one 7\n");

    world.write("src/main.rs", &main_rs("two"));
    world.write("src/lib.rs", "pub fn part() -> u8 { 8 }\n");
    world.commit("same sizes");
    let (ended, run) = world.run(&["--ref", "HEAD"]);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert_eq!(run["setup"]["reason"], "its layer was there already");
    assert_eq!(gate(&run, "show")["result"], "success");
    assert_eq!(shown(&world), "two 8\n");
}
