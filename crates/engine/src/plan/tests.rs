//! Which gates run, in which order, and with what.

use proptest::prelude::*;

use super::*;
use crate::config::parse;

fn config(text: &str) -> Config {
    parse(&format!("version: 1\n{text}"), "f").unwrap().config
}

fn name(text: &str) -> GateName {
    text.parse().unwrap()
}

/// `build`, `unit` from it, `lint`, and `docs` with filters.
const FILE: &str = "
gates:
  unit: { run: x, from: build, when: { paths: [src/**] } }
  build: { run: x, when: { paths: [src/**], paths_ignore: [src/**/*.md] } }
  lint: { run: x, needs: [], when: { paths_ignore: [docs/**] } }
  release: { run: x, needs: [unit, lint], when: { base: [main, 'release/*'] } }
";

/// The gates that run, in order, and those that don't.
fn split(text: &str, input: &PlanInput) -> (Vec<String>, Vec<String>) {
    let plan = plan(&config(text), input).unwrap();
    let (run, filtered): (Vec<_>, Vec<_>) =
        plan.gates.into_iter().partition(|gate| gate.filtered.is_none());
    let names = |gates: Vec<PlannedGate>| gates.into_iter().map(|gate| gate.name.into()).collect();
    (names(run), names(filtered))
}

fn changed(paths: &[&str]) -> Option<Vec<String>> {
    Some(paths.iter().map(|path| (*path).to_owned()).collect())
}

#[test]
fn needs_come_first_and_the_file_decides_the_rest() {
    let (run, filtered) = split(FILE, &PlanInput::default());
    assert_eq!(run, ["build", "unit", "lint", "release"]);
    assert!(filtered.is_empty());
    let names = "gates: { c: { run: x }, b: { run: x, needs: [a, a], from: a }, a: { run: x } }";
    let plan = plan(&config(names), &PlanInput::default()).unwrap();
    let order: Vec<&str> = plan.gates.iter().map(|gate| gate.name.as_str()).collect();
    assert_eq!(order, ["c", "a", "b"]);
    assert_eq!(plan.gates[2].needs, [name("a")]);
}

#[test]
fn filters() {
    let main = Some("main".to_owned());
    for (paths, base, runs) in [
        (None, None, vec!["build", "unit", "lint", "release"]),
        (changed(&[]), None, vec!["build", "unit", "lint", "release"]),
        (changed(&["src/a.rs"]), main.clone(), vec!["build", "unit", "lint", "release"]),
        (changed(&["src/a.rs"]), Some("topic".to_owned()), vec!["build", "unit", "lint"]),
        (changed(&["src/a.rs"]), Some("release/1/2".to_owned()), vec!["build", "unit", "lint"]),
        (changed(&["docs/a.md"]), main.clone(), vec!["release"]),
        (changed(&["docs/a.md", "README"]), main.clone(), vec!["lint", "release"]),
        // `unit` starts in the files of `build`, so `build` runs although its own filter says no.
        (changed(&["src/a.md"]), main.clone(), vec!["build", "unit", "lint", "release"]),
        // The file itself may change anything.
        (changed(&[".sandgate.yaml"]), main.clone(), vec!["build", "unit", "lint", "release"]),
        (changed(&["sub/.sandgate.yaml"]), main, vec!["lint", "release"]),
    ] {
        let input = PlanInput { only: vec![], base_branch: base, changed_paths: paths };
        assert_eq!(split(FILE, &input).0, runs, "{input:?}");
    }
}

#[test]
fn reasons_of_filtered_gates() {
    let input = PlanInput {
        only: vec![],
        base_branch: Some("topic\u{1b}".to_owned()),
        changed_paths: changed(&["docs/a"]),
    };
    let plan = plan(&config(FILE), &input).unwrap();
    let reasons: Vec<String> =
        plan.gates.iter().filter_map(|gate| Some(gate.filtered.as_ref()?.to_string())).collect();
    let no_path = "no changed file matches `when.paths` and `when.paths_ignore`";
    let base = "the change goes to `topic\u{fffd}`, which `when.base` does not name";
    assert_eq!(reasons, [no_path, no_path, no_path, base]);
}

#[test]
fn gates_asked_for_bring_what_they_need() {
    let docs = changed(&["docs/a"]);
    for (only, runs) in [
        (vec!["lint"], vec!["lint"]),
        (vec!["build"], vec!["build"]),
        // `build` by `from`; its filter would say no.
        (vec!["unit"], vec!["build", "unit"]),
        // `unit` and `lint` are needed, but have no reason to run themselves.
        (vec!["release"], vec!["release"]),
    ] {
        let only: Vec<GateName> = only.into_iter().map(name).collect();
        let input = PlanInput { only, base_branch: None, changed_paths: docs.clone() };
        let (run, filtered) = split(FILE, &input);
        assert_eq!(run, runs, "{input:?}");
        assert_eq!(run.len() + filtered.len(), 4);
    }
    let plan = plan(&config(FILE), &PlanInput { only: vec![name("lint")], ..PlanInput::default() });
    let not_asked_for = |gate: &&PlannedGate| gate.filtered == Some(Filtered::NotAskedFor);
    assert_eq!(plan.unwrap().gates.iter().filter(not_asked_for).count(), 3);
}

#[test]
fn unknown_names_are_told_the_near_ones() {
    let error = |asked: &str| {
        let input = PlanInput { only: vec![name(asked)], ..PlanInput::default() };
        plan(&config(FILE), &input).unwrap_err()
    };
    assert_eq!(error("lnit").to_string(), "there is no gate `lnit`; did you mean `lint`?");
    assert_eq!(
        error("deploy").to_string(),
        "there is no gate `deploy`; the gates are `unit`, `build`, `lint`, `release`"
    );
    assert_eq!(error("deploy").code(), ErrorCode::NotFound);
}

#[test]
fn defaults_are_resolved() {
    let text = "
environment: { env: { A: 1, B: 1 }, setup: { run: x } }
defaults: { timeout: 2m, network: full, retry: { infra: 0 }, resources: { pids: 9, cpu: 1 } }
gates:
  own: { run: x, timeout: 3m, network: none, retry: { gate: 1 }, resources: { cpu: 4 }, env: { B: 2 }, debug: { keep: 24h } }
  plain: { run: x }
approve_from: own
cancel: { on_push: false }
";
    let planned = plan(&config(text), &PlanInput::default()).unwrap();
    let [own, plain] = &planned.gates[..] else { panic!() };
    assert_eq!((own.timeout, plain.timeout), (Duration::from_secs(180), Duration::from_secs(120)));
    assert_eq!((own.network, plain.network), (Network::None, Network::Full));
    assert_eq!((own.infra_retries, own.gate_retries), (0, 1));
    assert_eq!((plain.infra_retries, plain.gate_retries), (0, 0));
    assert_eq!((own.resources.cpu_millis, own.resources.pids), (4000, 9));
    assert_eq!(plain.resources.memory_bytes, Resources::default().memory_bytes);
    assert_eq!((&own.env["A"][..], &own.env["B"][..], &plain.env["B"][..]), ("1", "2", "1"));
    let setup = planned.environment.setup.as_ref().unwrap();
    assert_eq!((setup.network, setup.timeout), (Network::Full, Duration::from_secs(120)));
    assert_eq!((&planned.approve_from, planned.cancel_on_push), (&Some(name("own")), false));

    let json = serde_json::to_value(&planned).unwrap();
    assert_eq!(json["gates"][0]["timeoutMs"], 180_000);
    assert_eq!(json["gates"][0]["debugKeepMs"], 86_400_000);
    assert_eq!(json["failFast"], "blocking");
    assert_eq!(serde_json::from_value::<Plan>(json).unwrap(), planned);

    let bare = plan(&config("gates: { a: { run: x } }"), &PlanInput::default()).unwrap();
    let gate = &bare.gates[0];
    assert_eq!((gate.timeout, gate.infra_retries), (Duration::from_secs(900), 2));
    assert_eq!((gate.network, gate.resources), (Network::None, Resources::default()));
}

proptest! {
    /// Whatever the needs, filters and names: every gate is planned once, after what it needs, and what a running gate
    /// starts from runs.
    #[test]
    fn plans_are_complete_and_ordered(
        edges in proptest::collection::vec((0_usize..12, 0_usize..12, any::<bool>()), 0..30),
        only in proptest::collection::vec(0_usize..12, 0..3),
        filters in proptest::collection::vec(any::<bool>(), 12),
    ) {
        let mut text = "gates:\n".to_owned();
        for (gate, filtered) in filters.iter().enumerate() {
            let from = edges.iter().find(|(a, b, from)| *a == gate && b < a && *from);
            let needs: Vec<String> = edges
                .iter()
                .filter(|(a, b, _)| *a == gate && b < a)
                .map(|(_, b, _)| format!("g{b}"))
                .collect();
            let from = from.map(|(_, b, _)| format!(", from: g{b}")).unwrap_or_default();
            let when = if *filtered { ", when: { paths: [x] }" } else { "" };
            text.push_str(&format!("  g{gate}: {{ run: x, needs: [{}]{from}{when} }}\n", needs.join(", ")));
        }
        let only: Vec<GateName> = only.iter().map(|gate| name(&format!("g{gate}"))).collect();
        let input = PlanInput { only: only.clone(), base_branch: None, changed_paths: changed(&["y"]) };
        let planned = plan(&config(&text), &input).unwrap();
        prop_assert_eq!(planned.gates.len(), 12);
        for (index, gate) in planned.gates.iter().enumerate() {
            for need in &gate.needs {
                prop_assert!(planned.gates[..index].iter().any(|earlier| earlier.name == *need));
            }
            if only.contains(&gate.name) {
                prop_assert_eq!(&gate.filtered, &None);
            }
            if let (None, Some(from)) = (&gate.filtered, &gate.from) {
                let start = planned.gates.iter().find(|other| other.name == *from).unwrap();
                prop_assert_eq!(&start.filtered, &None);
            }
        }
    }
}
