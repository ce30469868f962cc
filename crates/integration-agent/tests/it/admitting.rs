//! How much is handed out: never more than there is, but one step that is larger; in order; and everything in the end.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};

use proptest::prelude::*;
use sandgate_domain::{Resources, Share};
use sandgate_engine::plan::Plan;
use sandgate_wire::agent::v1::{Assignment, ClaimRequest, Room};

use crate::fixture::Fixture;

const GIB: u64 = 1 << 30;
const SLOTS: u32 = 4;
const ALL: Share = Share { cpu_millis: 4000, memory_bytes: 8 * GIB };

fn claim(owner: &str, wait_ms: u32) -> ClaimRequest {
    let Share { cpu_millis, memory_bytes } = ALL;
    let (available_bytes, reserve_bytes) = (memory_bytes, 0);
    let room = Room { slots: SLOTS, cpu_millis, memory_bytes, available_bytes, reserve_bytes };
    ClaimRequest { owner: owner.to_owned(), run: None, wait_ms, room: Some(room) }
}

/// What a step was promised, as its plan says.
fn asked(claimed: &Assignment) -> Share {
    let plan: Plan = serde_json::from_str(&claimed.plan).unwrap();
    let gate = plan.gates.iter().find(|gate| gate.name.as_str() == claimed.name).unwrap();
    let Resources { cpu_millis, memory_bytes, .. } = gate.resources;
    Share { cpu_millis: cpu_millis.into(), memory_bytes }
}

/// Steps under way, by fence and step.
#[derive(Default)]
struct Ledger {
    held: HashMap<String, (Share, String)>,
    most: usize,
}

impl Ledger {
    fn start_all(&mut self, all: &[Assignment], slots: u32) {
        for claimed in all {
            self.start(claimed, slots);
        }
    }

    fn start(&mut self, claimed: &Assignment, slots: u32) {
        if claimed.kind == "close" {
            return;
        }
        let earlier =
            self.held.insert(claimed.step.clone(), (asked(claimed), claimed.token.clone()));
        assert!(earlier.is_none(), "{} is under way", claimed.name);
        let shares = self.held.values().map(|(share, _)| *share);
        let all = shares.fold(Share::default(), Share::plus);
        let fits = all.minus(ALL) == Share::default() && self.held.len() <= slots as usize;
        assert!(fits || self.held.len() == 1, "{} steps hold {all:?}", self.held.len());
        self.most = self.most.max(self.held.len());
    }
}

fn gates(asked: &[(u32, u32)]) -> String {
    let gate = |(number, (cpu, memory)): (usize, &(u32, u32))| {
        let (cpu, memory) = (f64::from(*cpu) / 2.0, memory * 256);
        format!(
            "  gate{number}: {{ run: echo, resources: {{ cpu: {cpu}, memory: {memory}Mi }} }}\n"
        )
    };
    asked.iter().enumerate().map(gate).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(12) })]

    #[test]
    fn steps_start_in_order_within_what_there_is(
        asked in prop::collection::vec((1_u32..12, 1_u32..40), 1..24),
        moves in prop::collection::vec((any::<bool>(), 0_usize..9), 8..40),
    ) {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(play(&asked, &moves));
    }
}

/// Claims, and ends one of the steps under way, as the moves say; with the next ones taken along or not.
async fn play(asked: &[(u32, u32)], moves: &[(bool, usize)]) {
    let fixture = Fixture::new().await;
    let run = fixture.run(&format!("{}\n", gates(asked))).await;
    let (mut ledger, mut started) = (Ledger::default(), Vec::new());
    for turn in 0..10 * asked.len() {
        if started.len() == asked.len() {
            break;
        }
        let (takes_along, which) = moves[turn % moves.len()];
        let mut found = fixture.claim_as(claim("one", 0)).await;
        let tokens: BTreeMap<&String, &String> =
            ledger.held.iter().map(|(step, (_, token))| (step, token)).collect();
        let chosen = tokens.iter().nth(which % tokens.len().max(1));
        let chosen = chosen.map(|(step, token)| ((*step).clone(), (*token).clone()));
        for claimed in found.drain(..) {
            ledger.start(&claimed, SLOTS);
            started.push(claimed.name);
        }
        if let Some((step, token)) = chosen {
            ledger.held.remove(&step);
            let mut report = fixture.exited(0);
            report.next = takes_along.then(|| claim("one", 0));
            let next = fixture.complete(&token, report).await.unwrap().next;
            for claimed in next.into_iter().filter(|claimed| claimed.kind == "gate") {
                ledger.start(&claimed, SLOTS);
                started.push(claimed.name);
            }
        }
    }
    let expected: Vec<String> = (0..asked.len()).map(|number| format!("gate{number}")).collect();
    assert_eq!(started, expected, "in order, and all of them");
    assert_eq!(fixture.agent.run(run).await.unwrap().1.len(), asked.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn claims_at_the_same_time_get_no_more_than_there_is() {
    let fixture = Fixture::new().await;
    let asked: Vec<(u32, u32)> =
        (0..40).map(|number| (1 + number % 5, 1 + number * 7 % 11)).collect();
    fixture.run(&gates(&asked)).await;
    let ledger = Arc::new(Mutex::new(Ledger::default()));
    let mut ended = 0;
    let mut workers = tokio::task::JoinSet::new();
    for number in 0..8_u32 {
        // Two runners of one machine, each of which claims several times at once.
        let owner = format!("runner {}", number % 2);
        let (client, ledger) = (fixture.client.clone(), Arc::clone(&ledger));
        let report = fixture.exited(0);
        workers.spawn(async move {
            let mut count = 0;
            loop {
                let reply = client.clone().claim(claim(&owner, 1200)).await.unwrap().into_inner();
                if reply.assignments.is_empty() {
                    return count;
                }
                let mut left = reply.assignments;
                ledger.lock().unwrap().start_all(&left, 2 * SLOTS);
                while let Some(claimed) = left.pop() {
                    tokio::task::yield_now().await;
                    ledger.lock().unwrap().held.remove(&claimed.step);
                    let mut report = report.clone();
                    report.next = (number % 3 == 0).then(|| claim(&owner, 0));
                    let request = sandgate_wire::token::with_step_token(report, &claimed.token);
                    let reply = client.clone().complete(request).await.unwrap().into_inner();
                    ledger.lock().unwrap().start_all(&reply.next, 2 * SLOTS);
                    left.extend(reply.next);
                    count += usize::from(claimed.kind == "gate");
                }
            }
        });
    }
    while let Some(count) = workers.join_next().await {
        ended += count.unwrap();
    }
    assert_eq!(ended, asked.len());
    assert!(ledger.lock().unwrap().most > 1, "they ran beside each other");
}

#[tokio::test]
async fn a_step_larger_than_the_machine_runs_alone_and_none_passes_it() {
    let fixture = Fixture::new().await;
    fixture.run(&gates(&[(2, 4), (40, 4), (1, 1)])).await;
    let names = |found: &[Assignment]| -> Vec<String> {
        found.iter().map(|claimed| claimed.name.clone()).collect()
    };
    let first = fixture.claim_as(claim("one", 0)).await;
    assert_eq!(names(&first), ["gate0"]);
    let mut report = fixture.exited(0);
    report.next = Some(claim("one", 0));
    let large = fixture.complete(&first[0].token, report.clone()).await.unwrap().next;
    assert_eq!(names(&large), ["gate1"], "alone");
    assert_eq!(fixture.claim_as(claim("two", 0)).await, [], "on the whole machine");
    let last = fixture.complete(&large[0].token, report).await.unwrap().next;
    assert_eq!(names(&last), ["gate2"]);
}

#[tokio::test]
async fn steps_start_one_by_one_while_the_machine_has_little_memory_left() {
    let fixture = Fixture::new().await;
    fixture.run(&gates(&[(1, 1), (1, 1), (1, 1)])).await;
    let mut request = claim("one", 0);
    let room = request.room.as_mut().unwrap();
    (room.available_bytes, room.reserve_bytes) = (GIB, GIB);
    let first = fixture.claim_as(request.clone()).await;
    assert_eq!(first.len(), 1, "the second would take of the reserve, as far as is known");
    let second = fixture.claim_as(request.clone()).await;
    assert_eq!(second.len(), 1, "measured again, there is enough");
    request.room.as_mut().unwrap().available_bytes -= 1;
    assert_eq!(fixture.claim_as(request.clone()).await, []);
    fixture.complete(&first[0].token, fixture.exited(0)).await.unwrap();
    assert_eq!(fixture.claim_as(request.clone()).await, []);
    fixture.complete(&second[0].token, fixture.exited(0)).await.unwrap();
    assert_eq!(fixture.claim_as(request).await.len(), 1, "with nothing under way, one starts");
}
