//! Tests of the file one level up.

use proptest::prelude::*;

use super::*;
use crate::event::{Account, Action, Association, PushEvent};

const SECOND: i64 = 1_000_000;
const NOW: Timestamp = Timestamp::from_micros(1_000 * SECOND);

fn sha(letter: char) -> CommitId {
    letter.to_string().repeat(40).parse().unwrap()
}

fn account(login: &str) -> Option<Account> {
    Some(Account { login: login.to_owned(), is_bot: login.ends_with("[bot]") })
}

fn event(action: Action, head: char, second: i64) -> PullRequestEvent {
    PullRequestEvent {
        action,
        number: 7,
        updated_at: Some(Timestamp::from_micros(second * SECOND)),
        is_open: Some(action != Action::Closed),
        is_merged: false,
        is_draft: false,
        head: sha(head),
        head_branch: "topic".parse().unwrap(),
        head_repository: Some("o/r".parse().unwrap()),
        is_fork: false,
        base_branch: "main".parse().unwrap(),
        base: Some(sha('f')),
        before: None,
        after: None,
        author: account("alice"),
        association: Some(Association::Insider),
        sender: account("alice"),
        title: String::new(),
    }
}

fn moved(before: char, after: char, second: i64) -> PullRequestEvent {
    let mut event = event(Action::Synchronize, after, second);
    (event.before, event.after) = (Some(sha(before)), Some(sha(after)));
    event
}

fn from_fork(mut event: PullRequestEvent) -> PullRequestEvent {
    event.is_fork = true;
    event.head_repository = Some("mallory/r".parse().unwrap());
    event.author = account("mallory");
    event.association = Some(Association::Outsider);
    event.sender = account("mallory");
    event
}

fn blank() -> PullRequest {
    PullRequest::new("o/r".parse().unwrap(), 7, NOW)
}

/// The outside world: which runs are alive, and what else it was told.
#[derive(Debug, Default)]
struct World {
    live: Vec<(u64, CommitId)>,
    started: Vec<CommitId>,
    held: Vec<CommitId>,
    closed: usize,
}

impl World {
    fn apply(&mut self, effects: &[Effect]) {
        for effect in effects {
            match effect {
                Effect::StartRun(run) => {
                    self.live.push((run.revision, run.head.clone()));
                    self.started.push(run.head.clone());
                }
                Effect::CancelRuns { before } => self.live.retain(|(run, _)| run >= before),
                Effect::Hold { head, .. } => self.held.push(head.clone()),
                Effect::Close { .. } => self.closed += 1,
            }
        }
    }
}

fn play<'a>(events: impl IntoIterator<Item = &'a PullRequestEvent>) -> (PullRequest, World) {
    let (mut state, mut world) = (blank(), World::default());
    for (index, event) in events.into_iter().enumerate() {
        let now = Timestamp::from_micros((5_000 + i64::try_from(index).unwrap()) * SECOND);
        let decision = fold(&state, event, &TrustLists::default(), now);
        assert!(decision.state.revision >= state.revision);
        world.apply(&decision.effects);
        state = decision.state;
    }
    (state, world)
}

/// An open pull request has exactly one live run, that of its head; a closed one has none.
fn assert_settled(state: &PullRequest, world: &World) {
    let view = state.view().unwrap();
    let live: Vec<&CommitId> = world.live.iter().map(|(_, head)| head).collect();
    match view.status {
        Status::Open => assert_eq!(live, [&view.head]),
        Status::Closed | Status::Merged => assert!(live.is_empty(), "{live:?}"),
    }
}

fn permutations(count: usize) -> Vec<Vec<usize>> {
    if count == 0 {
        return vec![Vec::new()];
    }
    let mut all = Vec::new();
    for shorter in permutations(count - 1) {
        for place in 0..count {
            let mut longer = shorter.clone();
            longer.insert(place, count - 1);
            all.push(longer);
        }
    }
    all
}

/// The history with the time of each event: `steps` has a bit for each event that comes in a later second.
fn history(steps: u32) -> Vec<PullRequestEvent> {
    let mut second = 100;
    let mut tick = |index: u32| {
        second += i64::from(steps >> index & 1);
        second
    };
    vec![
        event(Action::Opened, 'e', tick(0)),
        moved('e', 'c', tick(1)),
        moved('c', 'a', tick(2)),
        event(Action::Closed, 'a', tick(3)),
        event(Action::Reopened, 'a', tick(4)),
    ]
}

#[test]
fn every_order_of_a_whole_life_ends_in_the_same_state() {
    let orders = permutations(5);
    assert_eq!(orders.len(), 120);
    for steps in 0..32 {
        let events = history(steps);
        for length in [4, 5] {
            let (expected, _) = play(&events[..length]);
            let view = expected.view().unwrap();
            assert_eq!(view.head, sha('a'));
            assert_eq!(view.status, if length == 5 { Status::Open } else { Status::Closed });
            for order in &orders {
                let chosen = order.iter().filter(|index| **index < length);
                let (state, world) = play(chosen.map(|index| &events[*index]));
                assert_eq!(state.known, expected.known, "steps {steps:05b}, order {order:?}");
                assert_settled(&state, &world);
            }
        }
    }
}

#[test]
fn every_order_with_repeated_deliveries_ends_in_the_same_state() {
    for steps in [0b11111, 0b00000, 0b10101] {
        let events = history(steps);
        let (expected, _) = play(&events);
        for order in permutations(5) {
            for again in 0..5 {
                let repeated = order.iter().chain([&order[again], &order[0]]);
                let (state, world) = play(repeated.map(|index| &events[*index]));
                assert_eq!(state.known, expected.known, "{order:?} {again}");
                assert_settled(&state, &world);
            }
        }
    }
}

#[test]
fn a_late_move_after_the_close_never_starts_a_run() {
    for move_second in [100, 101, 102] {
        let events = [
            event(Action::Opened, 'a', 100),
            event(Action::Closed, 'b', 102),
            moved('a', 'b', move_second),
        ];
        let (state, world) = play(&events);
        assert_eq!(world.started, [sha('a')]);
        assert_eq!(world.closed, 1);
        assert_settled(&state, &world);
    }
    let events =
        [event(Action::Closed, 'b', 102), event(Action::Opened, 'a', 100), moved('a', 'b', 101)];
    let (_, world) = play(&events);
    assert!(world.started.is_empty() && world.closed == 0);
}

#[test]
fn senders_that_tell_no_time_are_taken_in_the_order_of_arrival() {
    let mut events = [
        event(Action::Opened, 'a', 0),
        moved('a', 'b', 0),
        event(Action::Closed, 'b', 0),
        moved('b', 'c', 0),
    ];
    for event in &mut events {
        event.updated_at = None;
    }
    let (state, world) = play(&events);
    assert_eq!(state.view().unwrap().status, Status::Closed);
    assert_eq!(world.started, [sha('a'), sha('b')]);
    assert_settled(&state, &world);
}

#[test]
fn a_lost_reopening_is_learned_from_the_next_event() {
    let events = [event(Action::Opened, 'a', 1), event(Action::Closed, 'a', 2), moved('a', 'b', 5)];
    let (state, world) = play(&events);
    assert_eq!(state.view().unwrap().status, Status::Open);
    assert_settled(&state, &world);
}

#[test]
fn moves_within_one_second_follow_their_chain() {
    let events =
        [event(Action::Opened, 'e', 9), moved('e', 'b', 9), moved('b', 'd', 9), moved('d', 'a', 9)];
    for order in permutations(4) {
        let (state, world) = play(order.iter().map(|index| &events[*index]));
        assert_eq!(state.view().unwrap().head, sha('a'), "{order:?}");
        assert_settled(&state, &world);
    }
}

#[test]
fn merged_is_told_from_closed_and_the_first_sight_of_a_closed_one_does_nothing() {
    let mut merged = event(Action::Closed, 'a', 2);
    merged.is_merged = true;
    let (state, world) = play([&merged]);
    assert_eq!(state.view().unwrap().status, Status::Merged);
    assert!(world.started.is_empty() && world.closed == 0);
    let (state, _) = play(&[event(Action::Opened, 'a', 1), merged]);
    assert_eq!(state.activity, Activity::Closed { is_merged: true });
}

#[test]
fn drafts_run_and_leaving_the_draft_state_runs_nothing_twice() {
    let mut draft = event(Action::Opened, 'a', 1);
    draft.is_draft = true;
    let ready = event(Action::ReadyForReview, 'a', 2);
    let (state, world) = play([&draft, &ready]);
    assert_eq!(world.started, [sha('a')]);
    assert!(!state.view().unwrap().is_draft);
    // The opening was lost: then this is the first that we hear of it.
    let (_, world) = play([&ready]);
    assert_eq!(world.started, [sha('a')]);
}

#[test]
fn a_new_base_branch_runs_again() {
    let mut elsewhere = event(Action::ReadyForReview, 'a', 2);
    elsewhere.base_branch = "release".parse().unwrap();
    let (state, world) = play(&[event(Action::Opened, 'a', 1), elsewhere]);
    assert_eq!(world.started.len(), 2);
    assert_settled(&state, &world);
}

#[test]
fn a_fork_waits_until_exactly_its_head_is_approved() {
    let opened = from_fork(event(Action::Opened, 'a', 1));
    let (held, world) = play([&opened]);
    assert_eq!((world.held.as_slice(), world.started.len()), ([sha('a')].as_slice(), 0));

    let refused = approve(&held, &sha('b'), "alice", NOW).unwrap_err();
    assert_eq!(refused, ApprovalRefused::OtherHead { given: sha('b'), present: sha('a') });
    let approved = approve(&held, &sha('a'), "alice", NOW).unwrap();
    let [Effect::StartRun(run)] = approved.effects.as_slice() else { panic!("{approved:?}") };
    assert_eq!((&run.head, run.tier, run.trigger), (&sha('a'), TrustTier::Fork, Trigger::Approval));
    let again = approve(&approved.state, &sha('a'), "alice", NOW).unwrap();
    assert!(again.effects.is_empty());

    let repeated = fold(&approved.state, &opened, &TrustLists::default(), NOW);
    assert!(repeated.effects.is_empty() && repeated.state.approval.is_some());

    let new_head = from_fork(moved('a', 'b', 2));
    let voided = fold(&approved.state, &new_head, &TrustLists::default(), NOW);
    assert_eq!(voided.state.approval, None);
    assert_eq!(
        voided.effects,
        [Effect::CancelRuns { before: 3 }, Effect::Hold { revision: 3, head: sha('b') }]
    );
    let back = fold(&voided.state, &from_fork(moved('b', 'a', 3)), &TrustLists::default(), NOW);
    assert!(matches!(back.effects.as_slice(), [Effect::Hold { .. }]), "{back:?}");
}

#[test]
fn there_is_nothing_to_approve_where_nothing_waits() {
    let (running, _) = play(&[event(Action::Opened, 'a', 1)]);
    assert_eq!(approve(&running, &sha('a'), "x", NOW).unwrap_err(), ApprovalRefused::NotHeld);
    let closed =
        [from_fork(event(Action::Opened, 'a', 1)), from_fork(event(Action::Closed, 'a', 2))];
    let (closed, _) = play(&closed);
    let refused = approve(&closed, &sha('a'), "x", NOW).unwrap_err();
    assert_eq!(refused, ApprovalRefused::NotOpen { status: Status::Closed });
    assert_eq!(approve(&blank(), &sha('a'), "x", NOW).unwrap_err(), ApprovalRefused::NotHeld);
}

#[test]
fn trust_is_the_table() {
    let plain = || event(Action::Opened, 'a', 1);
    let lists = TrustLists::new(["Trusty"], ["robo"]);
    let tier =
        |event: &PullRequestEvent| fold(&blank(), event, &lists, NOW).state.view().unwrap().tier;
    let with = |change: &dyn Fn(&mut PullRequestEvent)| {
        let mut event = plain();
        change(&mut event);
        tier(&event)
    };
    assert_eq!(tier(&plain()), TrustTier::Member);
    assert_eq!(tier(&from_fork(plain())), TrustTier::Fork);
    assert_eq!(with(&|event| event.author = account("dependabot[bot]")), TrustTier::Agent);
    assert_eq!(with(&|event| event.sender = account("ci[bot]")), TrustTier::Agent);
    assert_eq!(with(&|event| event.author = account("ROBO")), TrustTier::Agent);
    assert_eq!(with(&|event| event.association = Some(Association::Outsider)), TrustTier::Agent);
    assert_eq!(with(&|event| event.association = None), TrustTier::Member);
    let mut listed = from_fork(plain());
    listed.author = account("trusty");
    assert_eq!(tier(&listed), TrustTier::Member);
    let mut bot_fork = from_fork(plain());
    bot_fork.author = account("robo");
    assert_eq!(tier(&bot_fork), TrustTier::Fork);
    let mut gone = plain();
    (gone.head_repository, gone.is_fork) = (None, true);
    assert_eq!(tier(&gone), TrustTier::Fork);
}

#[test]
fn a_head_that_an_agent_brought_stays_an_agents() {
    let mut brought = moved('a', 'b', 2);
    brought.sender = account("robo[bot]");
    let reopened = event(Action::Reopened, 'b', 4);
    let events = [event(Action::Opened, 'a', 1), brought, event(Action::Closed, 'b', 3), reopened];
    for order in permutations(4) {
        let (state, world) = play(order.iter().map(|index| &events[*index]));
        assert_eq!(state.view().unwrap().tier, TrustTier::Agent, "{order:?}");
        assert!(matches!(state.activity, Activity::Running { tier: TrustTier::Agent, .. }));
        assert_settled(&state, &world);
    }
}

#[test]
fn pushes_run_the_default_branch_only() {
    let push = |branch: &str, after: Option<char>| PushEvent {
        branch: branch.parse().unwrap(),
        before: Some(sha('a')),
        after: after.map(sha),
        default_branch: None,
        sender: account("alice"),
    };
    let main: BranchName = "main".parse().unwrap();
    let lists = TrustLists::default();
    let start = decide_push(&push("main", Some('b')), Some(&main), &lists);
    assert!(matches!(start, PushDecision::Start(run) if run.head == sha('b')));
    for (event, known) in [
        (push("topic", Some('b')), Some(&main)),
        (push("main", None), Some(&main)),
        (push("main", Some('b')), None),
    ] {
        assert!(matches!(decide_push(&event, known, &lists), PushDecision::Nothing(_)));
    }
    let mut told = push("trunk", Some('b'));
    told.default_branch = Some("trunk".parse().unwrap());
    assert!(matches!(decide_push(&told, Some(&main), &lists), PushDecision::Start(_)));
}

#[test]
fn the_state_reads_back_from_json() {
    let (state, _) = play(&history(0));
    let json = serde_json::to_string(&state).unwrap();
    assert_eq!(serde_json::from_str::<PullRequest>(&json).unwrap(), state);
}

/// A life that a forge could report: letters are heads, each step may fall into the same second.
fn any_life() -> impl Strategy<Value = Vec<PullRequestEvent>> {
    proptest::collection::vec((0_u8..5, 0_i64..3, 0_usize..5), 1..10).prop_map(|steps| {
        let (mut head, mut is_open, mut second) = ('a', true, 100);
        let mut events = vec![event(Action::Opened, 'a', second)];
        for (what, pause, letter) in steps {
            second += pause;
            let next = ['a', 'b', 'c', 'd', 'e'][letter];
            if what < 3 && is_open && next != head {
                events.push(moved(head, next, second));
                head = next;
            } else if what >= 3 {
                is_open = !is_open;
                let action = if is_open { Action::Reopened } else { Action::Closed };
                events.push(event(action, head, second));
            }
        }
        events
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn any_order_of_any_life_ends_in_the_same_state(
        (events, shuffled) in any_life().prop_flat_map(|events| {
            let mut twice = events.clone();
            twice.extend(events.iter().take(3).cloned());
            (Just(events), Just(twice).prop_shuffle())
        })
    ) {
        let (expected, world) = play(&events);
        assert_settled(&expected, &world);
        let (state, world) = play(&shuffled);
        prop_assert_eq!(&state.known, &expected.known);
        assert_settled(&state, &world);
        // Where every event has a second of its own, the end is what really was.
        let is_distinct = events.windows(2).all(|pair| pair[0].updated_at < pair[1].updated_at);
        let last = events.last().unwrap();
        if is_distinct {
            let view = state.view().unwrap();
            prop_assert_eq!(&view.head, &last.head);
            prop_assert_eq!(view.status == Status::Open, last.action != Action::Closed);
        }
    }
}
