//! The store's contract: every function of `store/`, the same tests on SQLite and on PostgreSQL. There is no
//! compile-time check of SQL with two databases, so this suite is it; the tidy test sees that no function is left out.

use std::collections::{BTreeMap, BTreeSet};

use intail::clock::from_us;
use intail::id::{GrantId, HistoryId, InvitationId, MailboxId, OrganizationId, PersonId, StreamId};
use intail::org::audit::{Actor, Entry, Origin, Verified, record, record_once, remove_old, verify};
use intail::org::roles::{self, By, RoleChange};
use intail::random::Random;
use intail::store::access_keys;
use intail::store::attempts::{self, Attempt, Purpose};
use intail::store::audit::{self, AuditEntry, Chain, Filter};
use intail::store::call_counts::{self, CallCount};
use intail::store::changes::{self, NewChange, Of};
use intail::store::coverage::{self, Coverage};
use intail::store::debts::{self, Debt};
use intail::store::erasure;
use intail::store::exclusions::{self, Count, Exclusion};
use intail::store::fills::{self, Fill, Left};
use intail::store::grants::{self, Grant, GrantState};
use intail::store::heartbeat::{self, Heartbeat};
use intail::store::invitations::{self, Invitation};
use intail::store::key_proofs::{self, KeyProof};
use intail::store::labels::{self, Label, LabelKind};
use intail::store::leases::{self, Stream, Wanted};
use intail::store::mailboxes::{self, Around, Filling, Mailbox, MailboxState, Noticed};
use intail::store::messages::{self, After, Message, SubjectForm};
use intail::store::operator_faults;
use intail::store::organizations::{self, Approval};
use intail::store::people::{self, Person, Role, Search};
use intail::store::privacy::{self, Looser, Policy, Settings, Work};
use intail::store::processes::{self, Process};
use intail::store::quota::{self, Engine, UNKNOWN_SPENT};
use intail::store::sealed::{self, PLACES, Sealed};
use intail::store::sign_in_links::{self, SignInLink};
use intail::store::spending::{Correction, Spending};
use intail::store::{
    Store, StoreError, Tx, approval_waits, feed_gaps, newest_version, sessions, sightings, turns, whole,
};
use jiff::Timestamp;
use serde_json::json;

use crate::harness;

macro_rules! on_both_databases {
    ($($test:ident),* $(,)?) => {
        mod sqlite {
            $(#[tokio::test] async fn $test() {
                let directory = tempfile::tempdir().expect("a directory");
                let url = format!("sqlite:{}", directory.path().join("intail.db").display());
                super::$test(super::Scene::new(&url).await).await;
            })*
        }
        mod postgres {
            $(#[tokio::test] async fn $test() {
                let url = super::harness::postgres::database().await;
                super::$test(super::Scene::new(&url).await).await;
            })*
        }
    };
}

mod directory;
mod interleaved;
mod leaving;
mod streams;

on_both_databases!(
    migrating_twice_changes_nothing,
    an_organization_owns_its_domains,
    people_are_found_by_their_subject,
    people_are_searched_in_pages_and_counted_by_state,
    only_what_is_whole_and_told_of_changes_is_called_live,
    the_last_administrator_stays_whoever_asks_at_once,
    an_invitation_is_used_by_one,
    a_sign_in_link_works_once_and_in_time,
    an_issuer_vouches_for_whom_the_operator_let_in,
    a_session_ends_at_its_time,
    an_attempt_is_taken_once,
    a_grant_is_one_per_person_and_per_account,
    grants_that_waited_are_reopened,
    attempts_that_nobody_came_back_from_are_counted,
    who_waits_for_the_approval_is_known_until_it_works,
    a_mailbox_is_written_whole_under_its_lease,
    promise_2_the_cursor_never_moves_back,
    promise_3_a_notice_during_a_run_leaves_a_dirty_mark,
    promise_7_a_notice_of_what_is_stored_already_makes_nothing_due,
    whose_watch_failed_tries_again_within_the_time_that_is_given,
    promise_4_a_worker_that_lost_its_lease_cannot_write,
    what_decides_about_a_mailbox_is_told_at_once,
    one_mailbox_is_claimed_by_one_worker,
    a_failing_watch_counts_while_its_grant_works,
    messages_are_paged_newest_first,
    labels_of_messages_follow_their_changes,
    fills_keep_their_order_and_repeat_nothing,
    many_at_once_are_written_and_found_as_a_few_are,
    a_label_is_compared_with_its_sightings,
    a_thread_s_fills_come_together,
    whoever_is_copied_shares_the_project_and_whoever_can_not_be_read_does_not,
    a_noticed_mailbox_is_claimed_before_those_that_are_only_due,
    processes_that_share_the_quota_know_of_each_other,
    a_day_s_units_add_up,
    labels_are_kept,
    debts_are_due_at_their_time,
    what_is_left_out_is_counted_and_looked_at_again_by_its_reason,
    a_subject_can_be_replaced_and_messages_walked_by_id,
    the_feed_forgets_the_labels_of_what_may_not_be_kept,
    privacy_settings_are_kept_beside_how_far_they_are_applied,
    a_mailbox_is_due_without_a_notice_when_its_rules_change,
    an_audit_is_wanted_once_and_a_day_after_the_last,
    labelled_messages_are_counted_once,
    the_feed_is_numbered_without_gaps,
    calls_are_summed_by_day,
    operator_faults_keep_their_since,
    an_audit_log_has_no_gap_whoever_writes,
    what_repeats_itself_is_in_an_audit_log_once_an_hour,
    what_was_done_to_an_audit_log_shows,
    old_audit_entries_go_and_the_rest_still_verifies,
    one_process_looks_after_the_heartbeat,
    what_nobody_told_of_is_counted_until_somebody_tells,
    access_keys_belong_to_their_person,
    key_proofs_are_kept,
    processes_are_known_while_they_say_so,
    everything_is_copied_as_it_is,
    a_sealed_text_is_swapped_only_while_it_is_the_same,
    erasing_leaves_nothing_of_a_mailbox,
    history_ids_up_to_the_last_are_kept,
);

/// A store with one organization, one person, one grant and one mailbox.
struct Scene {
    store: Store,
    url: String,
    random: Random,
    organization: OrganizationId,
    person: Person,
    grant: Grant,
    mailbox: Mailbox,
}

fn at(second: i64) -> Timestamp {
    from_us(second * 1_000_000)
}

impl Scene {
    async fn new(url: &str) -> Self {
        let store = Store::open(url).await.expect("the store opens");
        let random = Random::seeded(7);
        let organization = OrganizationId::new(&random);
        let person = person(&random, &organization, "1");
        let grant = grant(&random, &person, "g1");
        let mailbox = Mailbox::new(MailboxId::new(&random), &grant, at(0));
        let mut tx = store.write().await.expect("a transaction");
        organizations::create(&mut tx, &organization, "Example", at(0)).await.expect("created");
        people::create(&mut tx, &person, at(0)).await.expect("created");
        grants::put(&mut tx, &grant).await.expect("put");
        mailboxes::create(&mut tx, &mailbox).await.expect("created");
        tx.commit().await.expect("committed");
        Self { store, url: url.to_owned(), random, organization, person, grant, mailbox }
    }

    fn of(&self) -> Of<'_> {
        Of { organization: &self.organization, person: Some(&self.person.id), stream: (&self.mailbox.id).into() }
    }
}

fn person(random: &Random, organization: &OrganizationId, subject: &str) -> Person {
    Person {
        id: PersonId::new(random),
        organization_id: organization.clone(),
        issuer: "https://issuer.example".into(),
        subject: subject.into(),
        email: format!("person{subject}@example.com"),
        name: "Ünal Øst".into(),
        role: Role::Member,
    }
}

fn grant(random: &Random, person: &Person, google_subject: &str) -> Grant {
    Grant {
        id: GrantId::new(random),
        organization_id: person.organization_id.clone(),
        person_id: person.id.clone(),
        google_subject: google_subject.into(),
        email: person.email.clone(),
        hosted_domain: Some("example.com".into()),
        client_id: "client".into(),
        scopes: vec!["a".into(), "b".into()],
        state: GrantState::Active,
        reason: String::new(),
        state_since: at(0),
        refresh_sealed: Some("k1.sealed".into()),
        access_sealed: None,
        access_expires_at: None,
        connected_at: at(0),
        suspended_at: None,
    }
}

fn message(id: &str, received_ms: i64, labels: &[&str]) -> Message {
    Message {
        id: id.into(),
        thread_id: "t1".into(),
        received_ms,
        size_bytes: 10,
        history_id: HistoryId(5),
        labels: labels.iter().map(|it| (*it).to_owned()).collect(),
        subject: "Gruß 👋".into(),
        subject_form: SubjectForm::Plain,
        sender_name: "山田".into(),
        sender_address: "yamada@example.com".into(),
        headers: BTreeMap::from([("to".to_owned(), vec!["a@example.com".to_owned()])]),
    }
}

async fn put(scene: &Scene, messages: &[Message]) {
    let mut tx = scene.store.write().await.expect("a transaction");
    for it in messages {
        let before = messages::by_id(&mut tx, &scene.mailbox.id, &it.id).await.expect("read");
        let (organization, mailbox) = (&scene.organization, &scene.mailbox.id);
        match before {
            Some(before) => messages::put(&mut tx, organization, mailbox, it, &before, 1).await.expect("put"),
            None => {
                messages::add(&mut tx, organization, mailbox, std::slice::from_ref(it), 1).await.expect("added");
            }
        }
    }
    tx.commit().await.expect("committed");
}

async fn migrating_twice_changes_nothing(scene: Scene) {
    scene.store.close().await;
    let again = Store::open(&scene.url).await.expect("opens again");
    let mut tx = again.read().await.expect("a transaction");
    let there = people::by_id(&mut tx, &scene.person.id).await.expect("read");
    assert_eq!(there, Some(scene.person));
}

async fn an_organization_owns_its_domains(scene: Scene) {
    let mut tx = scene.store.write().await.expect("a transaction");
    organizations::add_domain(&mut tx, &scene.organization, "example.org").await.expect("added");
    organizations::add_domain(&mut tx, &scene.organization, "example.com").await.expect("added");
    organizations::set_approval(&mut tx, &scene.organization, Approval::Approved, "yes", at(3)).await.expect("set");
    organizations::set_approval(&mut tx, &scene.organization, Approval::Blocked, "why", at(5)).await.expect("set");
    organizations::set_approval(&mut tx, &scene.organization, Approval::Blocked, "again", at(9)).await.expect("set");
    organizations::set_approval_way(&mut tx, &scene.organization, "refresh").await.expect("set");
    organizations::set_secondary_accounts(&mut tx, &scene.organization, true).await.expect("set");
    let named = organizations::by_id(&mut tx, &scene.organization).await.expect("read").expect("there");
    assert!(!named.administrator_named);
    organizations::set_administrator_named(&mut tx, &scene.organization).await.expect("set");
    let named = organizations::by_id(&mut tx, &scene.organization).await.expect("read").expect("there");
    assert!(named.administrator_named);
    tx.commit().await.expect("committed");
    let mut tx = scene.store.read().await.expect("a transaction");
    let found = organizations::by_domain(&mut tx, "example.com").await.expect("read").expect("there");
    assert_eq!((found.approval, found.approval_since), (Approval::Blocked, at(5)));
    assert_eq!((found.approval_evidence.as_str(), found.approval_way.as_str()), ("again", "refresh"));
    assert_eq!((found.approved_at, found.secondary_accounts), (Some(at(3)), true));
    assert_eq!(organizations::by_id(&mut tx, &scene.organization).await.expect("read"), Some(found.clone()));
    assert_eq!(organizations::list(&mut tx, 9).await.expect("read"), [found]);
    let domains = organizations::domains(&mut tx, &scene.organization).await.expect("read");
    assert_eq!(domains, ["example.com", "example.org"]);
    drop(tx);

    let mut tx = scene.store.write().await.expect("a transaction");
    let other = OrganizationId::new(&scene.random);
    organizations::create(&mut tx, &other, "Other", at(0)).await.expect("created");
    let taken = organizations::add_domain(&mut tx, &other, "example.com").await.expect_err("it is taken");
    assert!(taken.is_unique_violation(), "{taken:?}");
    drop(tx);

    let mut tx = scene.store.write().await.expect("a transaction");
    turns::hold_founding(&mut tx).await.expect("held");
    organizations::hold(&mut tx, &scene.organization).await.expect("held");
    organizations::rename(&mut tx, &scene.organization, "Renamed").await.expect("renamed");
    organizations::set_policy(&mut tx, &scene.organization, false, 30).await.expect("set");
    assert!(!organizations::remove_domain(&mut tx, &other, "example.org").await.expect("not theirs"));
    assert!(organizations::remove_domain(&mut tx, &scene.organization, "example.org").await.expect("removed"));
    let now = organizations::by_id(&mut tx, &scene.organization).await.expect("read").expect("there");
    assert_eq!((now.name.as_str(), now.domain_joining, now.audit_kept_days), ("Renamed", false, 30));
    assert_eq!(organizations::domains(&mut tx, &scene.organization).await.expect("read"), ["example.com"]);
}

async fn people_are_found_by_their_subject(scene: Scene) {
    let mut tx = scene.store.write().await.expect("a transaction");
    people::signed_in(&mut tx, &scene.person.id, "new@example.com", "New", at(1)).await.expect("written");
    people::set_role(&mut tx, &scene.person.id, Role::Administrator).await.expect("written");
    for (shut_out, expected) in [(Some(0), None), (Some(1), Some(at(1))), (Some(7), Some(at(1))), (None, None)] {
        match shut_out {
            Some(since) => people::shut_out(&mut tx, &scene.person.id, at(since)).await.expect("written"),
            None => people::let_in(&mut tx, &scene.person.id).await.expect("written"),
        }
        let since = people::shut_out_since(&mut tx, &scene.person.id).await.expect("read");
        assert_eq!(since, expected, "a sign-in after {shut_out:?} counts for more");
    }
    let found = people::by_subject(&mut tx, "https://issuer.example", "1").await.expect("read").expect("there");
    assert_eq!((found.email.as_str(), found.role), ("new@example.com", Role::Administrator));
    assert_eq!(people::by_subject(&mut tx, "https://other.example", "1").await.expect("read"), None);
    for (issuer, since, expected) in
        [("https://issuer.example", 0, true), ("https://issuer.example", 1, false), ("https://other.example", 0, false)]
    {
        let found = people::somebody_signed_in_since(&mut tx, &scene.organization, issuer, at(since)).await;
        assert_eq!(found.expect("read"), expected, "{issuer} {since}");
    }
    let all = people::list(&mut tx, &scene.organization, None, 10).await.expect("read");
    assert_eq!(all, std::slice::from_ref(&found));
    let rest = people::list(&mut tx, &scene.organization, Some(&found.id), 10).await.expect("read");
    assert_eq!(rest, []);
}

async fn people_are_searched_in_pages_and_counted_by_state(scene: Scene) {
    let mut tx = scene.store.write().await.expect("a transaction");
    let names = ["Zoë 100%", "ada", "Ämilie", "ada"];
    let mut ids = Vec::new();
    for (at_, name) in names.iter().enumerate() {
        let it = Person { name: (*name).into(), ..person(&scene.random, &scene.organization, &format!("s{at_}")) };
        people::create(&mut tx, &it, at(1)).await.expect("created");
        ids.push(it.id);
    }
    let other = OrganizationId::new(&scene.random);
    organizations::create(&mut tx, &other, "Other", at(0)).await.expect("created");
    people::create(&mut tx, &person(&scene.random, &other, "theirs"), at(1)).await.expect("created");
    grants::set_state(&mut tx, &scene.grant.id, GrantState::NeedsPerson, "revoked", at(4)).await.expect("set");
    people::signed_in(&mut tx, &ids[2], "new@example.com", "ÄMILIE", at(9)).await.expect("written");

    let mut seen = Vec::new();
    let mut after = None;
    for _ in 0..4 {
        let everybody = Search::default();
        let page =
            people::search(&mut tx, &scene.organization, &everybody, after.as_ref(), at(9), 2).await.expect("read");
        after = page.last().map(|it| it.person.id.clone());
        seen.extend(page);
    }
    assert_eq!(seen.len(), 5, "each once, and nobody of another organization");
    let found = async |tx: &mut _, words: &str, standing: &str| {
        let search = Search { words: words.into(), standing: standing.into() };
        let found = people::search(tx, &scene.organization, &search, None, at(9), 9).await.expect("read");
        found.into_iter().map(|it| it.person.id).collect::<Vec<_>>()
    };
    assert_eq!(found(&mut tx, "ÄMIL", "").await, [ids[2].clone()], "whatever the case, in any script");
    assert_eq!(found(&mut tx, "0%", "").await, [ids[0].clone()]);
    assert_eq!(found(&mut tx, "_", "").await, [], "a sign of LIKE is itself");
    assert_eq!(found(&mut tx, "NEW@example", "not_connected").await, [ids[2].clone()]);
    assert_eq!(found(&mut tx, "", "needs_person").await, std::slice::from_ref(&scene.person.id));
    let counts = people::count_by_standing(&mut tx, &scene.organization, at(9)).await.expect("read");
    assert_eq!(counts, [("needs_person".to_owned(), 1), ("not_connected".to_owned(), 4)]);
    let one = people::one(&mut tx, &scene.organization, &ids[2], at(9)).await.expect("read").expect("there");
    assert_eq!((one.created_at, one.signed_in_at, one.since), (at(1), Some(at(9)), None));
    assert_eq!(people::one(&mut tx, &other, &ids[2], at(9)).await.expect("read"), None, "not of that organization");
    let namesakes = people::by_email(&mut tx, "new@example.com", 9).await.expect("read");
    assert_eq!(namesakes.into_iter().map(|it| it.id).collect::<Vec<_>>(), [ids[2].clone()]);
}

async fn the_last_administrator_stays_whoever_asks_at_once(scene: Scene) {
    let two = person(&scene.random, &scene.organization, "2");
    let mut tx = scene.store.write().await.expect("a transaction");
    people::create(&mut tx, &two, at(0)).await.expect("created");
    for id in [&scene.person.id, &two.id] {
        people::set_role(&mut tx, id, Role::Administrator).await.expect("set");
    }
    tx.commit().await.expect("committed");
    // Each takes the other's role away, at the same time.
    let take = async |id: &PersonId| {
        let mut tx = scene.store.write().await.expect("a transaction");
        let ended = roles::change(&mut tx, &scene.organization, id, Role::Member, By::operator(), at(1)).await;
        let ended = ended.expect("it ran");
        tx.commit().await.expect("committed");
        ended
    };
    let ended = futures::join!(take(&scene.person.id), take(&two.id));
    let done = RoleChange::Done { from: Role::Administrator };
    let one = [(done, RoleChange::LastAdministrator), (RoleChange::LastAdministrator, done)];
    assert!(one.contains(&ended), "{ended:?}");
    let mut tx = scene.store.write().await.expect("a transaction");
    assert_eq!(people::administrators(&mut tx, &scene.organization).await.expect("counted"), 1);
    let other = OrganizationId::new(&scene.random);
    organizations::create(&mut tx, &other, "Other", at(0)).await.expect("created");
    let foreign = roles::change(&mut tx, &other, &two.id, Role::Auditor, By::operator(), at(1)).await.expect("it ran");
    assert_eq!(foreign, RoleChange::NotThere);
    let entries = audit::after(&mut tx, &scene.organization, 0, 9).await.expect("read");
    assert_eq!(entries.iter().map(|it| it.action.as_str()).collect::<Vec<_>>(), ["role.changed"]);
}

async fn only_what_is_whole_and_told_of_changes_is_called_live(scene: Scene) {
    let (mut mailbox, lease) = claim(&scene, "w", at(1), at(60)).await.pop().expect("it is due");
    let mut tx = scene.store.write().await.expect("a transaction");
    let mail = ["https://www.googleapis.com/auth/gmail.metadata".to_owned()];
    grants::set_scopes(&mut tx, &scene.grant.id, &mail).await.expect("set");
    let (live, copying) = (MailboxState::Live, MailboxState::Backfilling);
    for (state, paused_until, ends_at, grant_state, expected) in [
        (live, None, at(99), GrantState::Active, "live"),
        (live, Some(at(50)), at(99), GrantState::Active, "live"),
        (live, Some(at(51)), at(99), GrantState::Active, "paused"),
        (copying, None, at(50), GrantState::Partial, "backfilling"),
        (live, None, at(50), GrantState::Partial, "lapsed"),
        (live, None, at(51), GrantState::Partial, "partial"),
        (live, Some(at(51)), at(50), GrantState::NeedsOperator, "needs_operator"),
    ] {
        mailbox.state = state;
        mailbox.paused_until = paused_until;
        mailbox.watch_expires_at = Some(ends_at);
        mailboxes::save(&mut tx, &mailbox, &lease).await.expect("saved");
        grants::set_state(&mut tx, &scene.grant.id, grant_state, "", at(2)).await.expect("set");
        assert_stands(&scene, &mut tx, expected).await;
    }
    // Google wants no questions about anybody's mail.
    for (state, service, until, grant_state, expected) in [
        (live, quota::CALENDAR, 99, GrantState::Active, "live"),
        (live, quota::GMAIL, 50, GrantState::Active, "live"),
        (live, quota::GMAIL, 51, GrantState::Active, "paused"),
        (copying, quota::GMAIL, 51, GrantState::Partial, "paused"),
        (live, quota::GMAIL, 51, GrantState::NeedsPerson, "needs_person"),
    ] {
        (mailbox.state, mailbox.paused_until, mailbox.watch_expires_at) = (state, None, Some(at(99)));
        mailboxes::save(&mut tx, &mailbox, &lease).await.expect("saved");
        grants::set_state(&mut tx, &scene.grant.id, grant_state, "", at(2)).await.expect("set");
        let hold = quota::Hold { until: at(until), correction: None, day: None };
        quota::hold(&mut tx, service, hold).await.expect("held");
        assert_stands(&scene, &mut tx, expected).await;
    }
    quota::lift(&mut tx, quota::SERVICES[0], at(50)).await.expect("lifted");
    mailbox.state = live;
    mailbox.paused_until = None;
    mailbox.watch_expires_at = Some(at(9_999));
    mailboxes::save(&mut tx, &mailbox, &lease).await.expect("saved");
    grants::set_state(&mut tx, &scene.grant.id, GrantState::Active, "", at(2)).await.expect("set");
    for _ in 0..2 {
        leases::fail(&mut tx, &lease, "transient", at(60)).await.expect("counted");
    }
    for (second, expected, since) in [(659, "live", 2), (660, "failing", 60)] {
        let one = people::one(&mut tx, &scene.organization, &scene.person.id, at(second)).await.expect("read");
        let one = one.expect("there");
        assert_eq!((one.standing.as_str(), one.since), (expected, Some(at(since))));
    }
}

/// The one person of an organization stands so at the fiftieth second, wherever it is asked.
async fn assert_stands(scene: &Scene, tx: &mut Tx, expected: &str) {
    let (organization, now) = (&scene.organization, at(50));
    let one = people::one(tx, organization, &scene.person.id, now).await.expect("read").expect("there");
    assert_eq!(one.standing, expected);
    let search = Search { standing: expected.to_owned(), ..Search::default() };
    let found = people::search(tx, organization, &search, None, now, 9).await.expect("read");
    assert_eq!(found.len(), 1, "{expected}");
    let counts = people::count_by_standing(tx, organization, now).await.expect("read");
    assert_eq!(counts, [(expected.to_owned(), 1)]);
}

async fn an_invitation_is_used_by_one(scene: Scene) {
    let invitation = |role, ends| Invitation {
        id: InvitationId::new(&scene.random),
        organization_id: scene.organization.clone(),
        email: "guest@firm.example".into(),
        role,
        invited_by: "operator".into(),
        created_at: at(1),
        expires_at: at(ends),
    };
    let (first, second) = (invitation(Role::Member, 10), invitation(Role::Auditor, 20));
    let mut tx = scene.store.write().await.expect("a transaction");
    invitations::put(&mut tx, &first).await.expect("put");
    invitations::put(&mut tx, &second).await.expect("put in its place");
    let listed = invitations::of_organization(&mut tx, &scene.organization, at(19), 9).await.expect("read");
    assert_eq!(listed, std::slice::from_ref(&second));
    assert_eq!(invitations::by_email(&mut tx, "guest@firm.example", at(19), 9).await.expect("read"), listed);
    assert_eq!(invitations::by_email(&mut tx, "guest@firm.example", at(20), 9).await.expect("read"), []);
    let other = OrganizationId::new(&scene.random);
    assert!(!invitations::delete(&mut tx, &other, &second.id).await.expect("not theirs"));
    assert!(!invitations::delete(&mut tx, &scene.organization, &first.id).await.expect("it was replaced"));
    tx.commit().await.expect("committed");
    let take = async || {
        let mut tx = scene.store.write().await.expect("a transaction");
        let mine = invitations::delete(&mut tx, &scene.organization, &second.id).await.expect("deleted");
        tx.commit().await.expect("committed");
        mine
    };
    let taken = futures::join!(take(), take());
    assert!(taken.0 != taken.1, "{taken:?}");
    let mut tx = scene.store.write().await.expect("a transaction");
    invitations::put(&mut tx, &first).await.expect("put");
    assert_eq!(invitations::sweep(&mut tx, at(10)).await.expect("swept"), 1);
}

async fn a_sign_in_link_works_once_and_in_time(scene: Scene) {
    let link = |token: &str, person: Option<PersonId>| SignInLink {
        token_hash: token.into(),
        organization_id: scene.organization.clone(),
        person_id: person,
        email: "person1@example.com".into(),
        created_at: at(1),
        expires_at: at(10),
        used_at: None,
    };
    let (of_person, of_first) = (link("h1", Some(scene.person.id.clone())), link("h2", None));
    let mut tx = scene.store.write().await.expect("a transaction");
    for it in [&of_person, &of_first, &link("h3", Some(scene.person.id.clone()))] {
        sign_in_links::create(&mut tx, it).await.expect("created");
    }
    tx.commit().await.expect("committed");
    let take = async || {
        let mut tx = scene.store.write().await.expect("a transaction");
        let link = sign_in_links::take(&mut tx, "h1", at(9)).await.expect("taken");
        tx.commit().await.expect("committed");
        link
    };
    let (one, two) = futures::join!(take(), take());
    assert!(one.is_some() != two.is_some(), "{one:?} {two:?}");
    let used = SignInLink { used_at: Some(at(9)), ..of_person };
    assert_eq!(one.or(two), Some(used.clone()));
    let mut tx = scene.store.write().await.expect("a transaction");
    assert_eq!(sign_in_links::by_token(&mut tx, "h1", at(9)).await.expect("read"), None, "it was used");
    assert_eq!(sign_in_links::spent(&mut tx, "h1").await.expect("read"), Some(used), "and is known");
    assert_eq!(sign_in_links::by_token(&mut tx, "h2", at(9)).await.expect("read"), Some(of_first.clone()));
    assert_eq!(
        sign_in_links::by_token(&mut tx, "h2", at(9)).await.expect("read"),
        Some(of_first),
        "looking uses nothing"
    );
    assert_eq!(sign_in_links::by_token(&mut tx, "h2", at(10)).await.expect("read"), None);
    assert_eq!(sign_in_links::take(&mut tx, "h2", at(10)).await.expect("too late"), None);
    assert_eq!(sign_in_links::forget(&mut tx, &scene.person.id).await.expect("forgotten"), 2);
    assert_eq!(sign_in_links::sweep(&mut tx, at(10)).await.expect("swept"), 1);
}

async fn an_issuer_vouches_for_whom_the_operator_let_in(scene: Scene) {
    let let_in = Person {
        issuer: String::new(),
        email: "First@example.com".into(),
        ..person(&scene.random, &scene.organization, "x")
    };
    let mut tx = scene.store.write().await.expect("a transaction");
    people::create(&mut tx, &let_in, at(0)).await.expect("created");
    assert_eq!(people::unvouched(&mut tx, "person1@example.com").await.expect("read"), None);
    assert_eq!(people::unvouched(&mut tx, "first@example.com").await.expect("read"), Some(let_in.clone()));
    people::vouch(&mut tx, &let_in.id, "https://issuer.example", "9").await.expect("written");
    assert_eq!(people::unvouched(&mut tx, "first@example.com").await.expect("read"), None);
    let found = people::by_subject(&mut tx, "https://issuer.example", "9").await.expect("read").expect("there");
    assert_eq!(found.id, let_in.id);
}

async fn a_session_ends_at_its_time(scene: Scene) {
    let mut tx = scene.store.write().await.expect("a transaction");
    sessions::open(&mut tx, "h1", &scene.person.id, "form", at(0), at(10)).await.expect("opened");
    sessions::open(&mut tx, "h2", &scene.person.id, "form", at(0), at(99)).await.expect("opened");
    let open = sessions::by_token(&mut tx, "h1", at(9)).await.expect("read").expect("open");
    assert_eq!((open.person.id, open.form_token.as_str()), (scene.person.id.clone(), "form"));
    assert!(sessions::by_token(&mut tx, "h1", at(10)).await.expect("read").is_none());
    assert_eq!(sessions::sweep(&mut tx, at(10)).await.expect("swept"), 1);
    sessions::close(&mut tx, "h2").await.expect("closed");
    assert!(sessions::by_token(&mut tx, "h2", at(1)).await.expect("read").is_none());
    sessions::open(&mut tx, "h3", &scene.person.id, "form", at(0), at(99)).await.expect("opened");
    sessions::close_all(&mut tx, &scene.person.id).await.expect("closed");
    assert!(sessions::by_token(&mut tx, "h3", at(1)).await.expect("read").is_none());
}

async fn an_attempt_is_taken_once(scene: Scene) {
    let attempt = Attempt {
        state_hash: "s".into(),
        purpose: Purpose::Connect,
        browser_hash: "b".into(),
        person_id: Some(scene.person.id.clone()),
        nonce: "n".into(),
        verifier_sealed: "v".into(),
        return_to: "/".into(),
        begun_at: at(1),
        expires_at: at(100),
        ended_at: None,
        outcome: None,
    };
    let mut tx = scene.store.write().await.expect("a transaction");
    attempts::begin(&mut tx, &attempt).await.expect("begun");
    assert_eq!(attempts::count_since(&mut tx, &scene.person.id, at(0)).await.expect("counted"), 1);
    assert_eq!(attempts::count_since(&mut tx, &scene.person.id, at(1)).await.expect("counted"), 0);
    assert!(attempts::take(&mut tx, "s", at(2)).await.expect("taken"));
    assert!(!attempts::take(&mut tx, "s", at(3)).await.expect("not again"));
    attempts::set_outcome(&mut tx, "s", "connected").await.expect("written");
    let newest = attempts::newest_connect(&mut tx, &scene.person.id).await.expect("read").expect("there");
    assert_eq!((newest.ended_at, newest.outcome.as_deref()), (Some(at(2)), Some("connected")));
    assert_eq!(attempts::by_state(&mut tx, "s").await.expect("read").expect("there").nonce, "n");
    assert_eq!(attempts::sweep(&mut tx, at(101)).await.expect("swept"), 1);
}

async fn attempts_that_nobody_came_back_from_are_counted(scene: Scene) {
    let mut tx = scene.store.write().await.expect("a transaction");
    let (of, until) = (&scene.organization, at(100));
    for (number, begun_at) in [1, 5, 9].into_iter().enumerate() {
        let attempt = Attempt {
            state_hash: format!("s{number}"),
            purpose: Purpose::Connect,
            browser_hash: "b".into(),
            person_id: Some(scene.person.id.clone()),
            nonce: "n".into(),
            verifier_sealed: "v".into(),
            return_to: "/".into(),
            begun_at: at(begun_at),
            expires_at: at(100),
            ended_at: None,
            outcome: None,
        };
        attempts::begin(&mut tx, &attempt).await.expect("begun");
    }
    let all = attempts::unanswered(&mut tx, of, at(0), until).await.expect("read");
    assert_eq!((all.attempts, all.people, all.reconnecting), (3, 1, 0));
    grants::set_state(&mut tx, &scene.grant.id, GrantState::NeedsPerson, "revoked", at(7)).await.expect("set");
    assert_eq!(attempts::unanswered(&mut tx, of, at(0), until).await.expect("read").reconnecting, 1, "it began at 9");
    assert_eq!(attempts::unanswered(&mut tx, of, at(0), at(9)).await.expect("read").reconnecting, 0, "before it died");
    assert_eq!(attempts::unanswered(&mut tx, of, at(1), at(9)).await.expect("read").attempts, 1);
    assert_eq!(attempts::count_of_organization_since(&mut tx, of, at(1)).await.expect("counted"), 2);
    attempts::take(&mut tx, "s1", at(6)).await.expect("taken");
    assert_eq!(attempts::unanswered(&mut tx, of, at(0), until).await.expect("read").attempts, 1, "somebody came back");

    let other = OrganizationId::new(&scene.random);
    organizations::create(&mut tx, &other, "Other", at(0)).await.expect("created");
    assert_eq!(attempts::unanswered(&mut tx, &other, at(0), until).await.expect("read").attempts, 0);
    assert_eq!(attempts::count_of_organization_since(&mut tx, &other, at(0)).await.expect("counted"), 0);
}

async fn who_waits_for_the_approval_is_known_until_it_works(scene: Scene) {
    let mut tx = scene.store.write().await.expect("a transaction");
    let (of, waiting) = (&scene.organization, person(&scene.random, &scene.organization, "2"));
    people::create(&mut tx, &waiting, at(0)).await.expect("created");
    assert!(approval_waits::put(&mut tx, &waiting.id, of, at(3)).await.expect("written"));
    assert!(!approval_waits::put(&mut tx, &waiting.id, of, at(7)).await.expect("it waits already"));
    approval_waits::put(&mut tx, &scene.person.id, of, at(4)).await.expect("written");
    assert_eq!(approval_waits::count(&mut tx, of).await.expect("counted"), 2);

    let stands = approval_waits::standing_of(&mut tx, &waiting.id).await.expect("read").expect("there");
    assert_eq!((stands.waits_since, stands.grant, stands.word().as_str()), (Some(at(3)), None, "unknown.none"));
    assert_eq!(approval_waits::settle(&mut tx, of).await.expect("settled"), 1, "whose grant works waits no more");
    let settled = approval_waits::standing_of(&mut tx, &scene.person.id).await.expect("read").expect("there");
    assert_eq!((settled.waits_since, settled.word().as_str()), (None, "unknown.active"));
    assert!(settled.is_connected() && !stands.is_connected());
    approval_waits::delete(&mut tx, &waiting.id).await.expect("deleted");
    assert_eq!(approval_waits::count(&mut tx, of).await.expect("counted"), 0);
    let nobody = PersonId::new(&scene.random);
    assert!(approval_waits::standing_of(&mut tx, &nobody).await.expect("read").is_none());
}

async fn a_grant_is_one_per_person_and_per_account(scene: Scene) {
    let mut tx = scene.store.write().await.expect("a transaction");
    let id = &scene.grant.id;
    grants::set_state(&mut tx, id, GrantState::NeedsPerson, "revoked", at(4)).await.expect("set");
    grants::set_state(&mut tx, id, GrantState::NeedsPerson, "revoked", at(8)).await.expect("set");
    let dead = grants::by_id(&mut tx, id).await.expect("read").expect("there");
    assert_eq!((dead.state, dead.reason.as_str(), dead.state_since), (GrantState::NeedsPerson, "revoked", at(4)));
    grants::refreshed(&mut tx, &scene.grant, "a", at(9), None, &["x".into()]).await.expect("written");
    let kept = grants::by_google_subject(&mut tx, "g1").await.expect("read").expect("there");
    assert_eq!(kept.refresh_sealed.as_deref(), Some("k1.sealed"), "no new refresh token keeps the old one");
    assert_eq!((kept.access_sealed.as_deref(), kept.scopes.as_slice()), (Some("a"), ["x".to_owned()].as_slice()));
    grants::set_state(&mut tx, id, GrantState::Left, "left", at(9)).await.expect("set");
    grants::set_state(&mut tx, id, GrantState::Active, "", at(9)).await.expect("a grant that left stays left");
    assert_eq!(grants::list(&mut tx, &scene.organization, 9).await.expect("read").len(), 1);
    assert!(grants::by_person(&mut tx, &scene.person.id).await.expect("read").is_some());
    tx.commit().await.expect("committed");

    let other = person(&scene.random, &scene.organization, "2");
    let mut tx = scene.store.write().await.expect("a transaction");
    people::create(&mut tx, &other, at(0)).await.expect("created");
    let taken = grants::put(&mut tx, &grant(&scene.random, &other, "g1")).await.expect_err("the account is taken");
    assert!(taken.is_unique_violation(), "{taken:?}");
    drop(tx);

    let mut tx = scene.store.write().await.expect("a transaction");
    erasure::mailbox(&mut tx, &scene.mailbox.id).await.expect("erased");
    erasure::grant(&mut tx, id).await.expect("erased");
    assert!(grants::by_id(&mut tx, id).await.expect("read").is_none());
}

async fn grants_that_waited_are_reopened(scene: Scene) {
    let mut tx = scene.store.write().await.expect("a transaction");
    let (id, organization) = (&scene.grant.id, &scene.organization);
    for (state, reason, suspended_at, found) in [
        (GrantState::NeedsAdministrator, "no_mailbox", None, false),
        (GrantState::NeedsPerson, grants::BLOCKED, None, false),
        (GrantState::NeedsAdministrator, grants::BLOCKED, Some(at(1)), false),
        (GrantState::NeedsAdministrator, grants::BLOCKED, None, true),
    ] {
        grants::set_state(&mut tx, id, state, reason, at(1)).await.expect("set");
        grants::set_suspended(&mut tx, id, suspended_at, at(0)).await.expect("set");
        let blocked = grants::blocked(&mut tx, organization, 9).await.expect("read");
        assert_eq!(blocked, Vec::from_iter(found.then(|| id.clone())), "{state:?} {reason} {suspended_at:?}");
    }
    grants::set_state(&mut tx, id, GrantState::Active, "", at(2)).await.expect("set");
    for (suspended_at, now, since) in [(Some(at(3)), at(3), 3), (None, at(5), 5), (None, at(6), 5)] {
        grants::set_suspended(&mut tx, id, suspended_at, now).await.expect("set");
        let listed = people::one(&mut tx, organization, &scene.person.id, at(9)).await.expect("read").expect("there");
        assert_eq!(listed.since, Some(at(since)), "nothing was read while it was suspended");
    }
    assert!(grants::hold(&mut tx, &scene.grant).await.expect("held"));
    let again = Grant { connected_at: at(1), ..scene.grant.clone() };
    assert!(!grants::hold(&mut tx, &again).await.expect("ran"), "another one than was read");
    grants::set_state(&mut tx, &scene.grant.id, GrantState::NeedsAdministrator, "blocked", at(4)).await.expect("set");
    let waited = GrantState::NeedsAdministrator;
    let none = grants::reopen(&mut tx, &scene.organization, GrantState::NeedsPerson, &[], at(5)).await.expect("ran");
    assert_eq!(none, 0);
    grants::set_scopes(&mut tx, &scene.grant.id, &["a".into(), "b".into()]).await.expect("written");
    grants::reopen(&mut tx, &scene.organization, waited, &["b", "c"], at(4)).await.expect("ran");
    let part = grants::by_id(&mut tx, &scene.grant.id).await.expect("read").expect("there");
    assert_eq!((part.state, part.reason.as_str()), (GrantState::Partial, "permission_missing"));
    grants::set_state(&mut tx, &scene.grant.id, waited, "blocked", at(4)).await.expect("set");
    let one = grants::reopen(&mut tx, &scene.organization, waited, &["b", "a"], at(5)).await.expect("ran");
    assert_eq!(one, 1);
    let open = grants::by_id(&mut tx, &scene.grant.id).await.expect("read").expect("there");
    assert_eq!((open.state, open.state_since), (GrantState::Active, at(5)));
    let due = mailboxes::by_id(&mut tx, &scene.mailbox.id).await.expect("read").expect("there");
    assert_eq!(due.due_at, Some(at(5)));
}

async fn claim(scene: &Scene, owner: &str, now: Timestamp, until: Timestamp) -> Vec<(Mailbox, leases::Lease)> {
    let mut tx = scene.store.write().await.expect("a transaction");
    let claimed = leases::claim(&mut tx, owner, now, until, Wanted::Due, 10).await.expect("claimed");
    let mut held = Vec::new();
    for lease in claimed {
        held.push((mailboxes::hold(&mut tx, &lease, until).await.expect("held"), lease));
    }
    tx.commit().await.expect("committed");
    held
}

async fn a_mailbox_is_written_whole_under_its_lease(scene: Scene) {
    let (mut mailbox, lease) = claim(&scene, "w", at(1), at(60)).await.pop().expect("it is due");
    mailbox.state = MailboxState::Reconciling;
    mailbox.state_since = at(2);
    mailbox.advance(HistoryId(u64::MAX), at(3));
    mailbox.look_at = Some(at(4));
    mailbox.probe_at = Some(at(5));
    mailbox.watch_since = Some(at(6));
    mailbox.watch_set_at = Some(at(7));
    mailbox.watch_expires_at = Some(at(8));
    mailbox.watch_due_at = at(9);
    mailbox.watch_problem = Some("why".into());
    mailbox.listing_page = Some("token".into());
    mailbox.listing_done = true;
    mailbox.listing_pass = 3;
    mailbox.pinned = Some(HistoryId(77));
    mailbox.total_messages = Some(12);
    mailbox.oldest_ms = Some(13);
    mailbox.paused_until = Some(at(14));
    mailbox.paused_why = Some("person".into());
    mailbox.failures = 2;
    mailbox.notices_read = 4;
    mailbox.filled_at = Some(at(15));
    mailbox.filling_stood_s = 16;
    mailbox.copied_at = Some(at(17));
    let mut tx = scene.store.write().await.expect("a transaction");
    mailboxes::save(&mut tx, &mailbox, &lease).await.expect("saved");
    mailboxes::set_email(&mut tx, &mailbox.id, "Renamed@example.com").await.expect("written");
    tx.commit().await.expect("committed");
    let mut tx = scene.store.read().await.expect("a transaction");
    let there = mailboxes::by_person(&mut tx, &scene.person.id).await.expect("read").expect("there");
    mailbox.email = "renamed@example.com".into();
    assert_eq!(format!("{there:?}"), format!("{mailbox:?}"));
    assert_eq!(mailboxes::list(&mut tx, &scene.organization, 5).await.expect("read").len(), 1);
}

async fn promise_2_the_cursor_never_moves_back(scene: Scene) {
    let (mut mailbox, lease) = claim(&scene, "w", at(1), at(60)).await.pop().expect("it is due");
    // As numbers 9 < 10; as text it would be the other way round.
    for (written, kept) in [(9, 9), (10, 10), (9, 10), (u64::MAX, u64::MAX), (11, u64::MAX)] {
        mailbox.cursor = Some(HistoryId(written));
        let mut tx = scene.store.write().await.expect("a transaction");
        mailboxes::save(&mut tx, &mailbox, &lease).await.expect("saved");
        let there = mailboxes::by_id(&mut tx, &mailbox.id).await.expect("read").expect("there");
        tx.commit().await.expect("committed");
        assert_eq!(there.cursor, Some(HistoryId(kept)));
    }
}

async fn promise_3_a_notice_during_a_run_leaves_a_dirty_mark(scene: Scene) {
    let (mailbox, lease) = claim(&scene, "w", at(1), at(60)).await.pop().expect("it is due");
    let mut tx = scene.store.write().await.expect("a transaction");
    let told = [("person1@example.com", None), ("stranger@example.com", None)];
    let noticed = mailboxes::notice(&mut tx, &told, at(2)).await;
    assert_eq!(noticed.expect("noticed"), Noticed { mailboxes: 1, known: 0, unknown: 1 });
    leases::release(&mut tx, &lease, Some(at(500)), Some(&Spending::default()), at(3)).await.expect("released");
    let there = mailboxes::by_id(&mut tx, &mailbox.id).await.expect("read").expect("there");
    tx.commit().await.expect("committed");
    assert_eq!((there.due_at, there.noticed_at), (Some(at(3)), Some(at(2))), "due at once, not at 500");

    let (_, lease) = claim(&scene, "w", at(4), at(60)).await.pop().expect("it is due again");
    let mut tx = scene.store.write().await.expect("a transaction");
    leases::release(&mut tx, &lease, Some(at(500)), Some(&Spending::default()), at(5)).await.expect("released");
    assert_eq!(
        leases::next_due(&mut tx, &Stream::ALL, at(5)).await.expect("read"),
        Some(at(500)),
        "the mark is used up"
    );
    mailboxes::wake(&mut tx, &mailbox.id, at(6)).await.expect("woken");
    assert_eq!(leases::next_due(&mut tx, &Stream::ALL, at(6)).await.expect("read"), Some(at(6)));
    let woken = mailboxes::wake_all(&mut tx, at(5)).await.expect("woken");
    let there = mailboxes::by_id(&mut tx, &mailbox.id).await.expect("read");
    assert_eq!((woken, there.and_then(|it| it.due_at)), (1, Some(at(5))));
}

async fn whose_watch_failed_tries_again_within_the_time_that_is_given(scene: Scene) {
    let (mut mailbox, lease) = claim(&scene, "w", at(1), at(60)).await.pop().expect("it is due");
    mailbox.watch_due_at = at(90_000);
    let mut tx = scene.store.write().await.expect("a transaction");
    mailboxes::save(&mut tx, &mailbox, &lease).await.expect("saved");
    assert_eq!(mailboxes::renew_failed(&mut tx, at(10), 3_600).await.expect("none"), 0, "its watch is good");
    mailbox.watch_problem = Some("the topic is missing".into());
    mailboxes::save(&mut tx, &mailbox, &lease).await.expect("saved");
    leases::release(&mut tx, &lease, Some(at(80_000)), Some(&Spending::default()), at(9)).await.expect("released");
    assert_eq!(mailboxes::renew_failed(&mut tx, at(10), 3_600).await.expect("it tries"), 1);
    let there = mailboxes::by_id(&mut tx, &mailbox.id).await.expect("read").expect("there");
    assert!((at(10)..at(3_610)).contains(&there.watch_due_at), "{:?}", there.watch_due_at);
    assert_eq!(there.due_at, Some(there.watch_due_at));
    assert_eq!(mailboxes::renew_failed(&mut tx, at(10), 3_600).await.expect("once"), 0, "it is as early already");
}

async fn what_decides_about_a_mailbox_is_told_at_once(scene: Scene) {
    let (organization, mailbox) = (&scene.organization, &scene.mailbox);
    let mut tx = scene.store.write().await.expect("a transaction");
    let nothing = Around { backfill_day_percent: 80, ..Around::default() };
    assert_eq!(mailboxes::around(&mut tx, mailbox).await.expect("read"), nothing);
    let fill = |id: &str| Fill { message_id: id.into(), thread_id: "t".into() };
    fills::add(&mut tx, organization, &mailbox.id, &[fill("a"), fill("b")]).await.expect("added");
    let debt = |id: &str, due| Debt {
        message_id: id.into(),
        thread_id: "t".into(),
        reason: "transient".into(),
        tries: 1,
        since: at(1),
        due_at: at(due),
        in_bulk: true,
    };
    for it in [debt("c", 30), debt("d", 20), Debt { in_bulk: false, ..debt("e", 35) }] {
        debts::owe(&mut tx, organization, &mailbox.id, &it).await.expect("owed");
    }
    coverage::want(&mut tx, organization, &mailbox.id, at(40)).await.expect("wanted");
    quota::set_backfill_day_percent(&mut tx, organization, 50).await.expect("set");
    let all = Around {
        has_fills: true,
        next_debt_at: Some(at(20)),
        next_change_debt_at: Some(at(35)),
        has_new_debts: true,
        audit_at: Some(at(40)),
        backfill_day_percent: 50,
    };
    assert_eq!(mailboxes::around(&mut tx, mailbox).await.expect("read"), all);
    for it in [debt("c", 30), debt("d", 20), Debt { in_bulk: false, ..debt("e", 35) }] {
        debts::owe(&mut tx, organization, &mailbox.id, &Debt { tries: debts::OFTEN, ..it }).await.expect("owed");
    }
    let often = Around { has_new_debts: false, ..all };
    assert_eq!(mailboxes::around(&mut tx, mailbox).await.expect("read"), often);
}

async fn promise_4_a_worker_that_lost_its_lease_cannot_write(scene: Scene) {
    let (mailbox, slow) = claim(&scene, "slow", at(1), at(60)).await.pop().expect("it is due");
    assert!(claim(&scene, "other", at(59), at(99)).await.is_empty(), "the lease holds");
    let (_, quick) = claim(&scene, "quick", at(61), at(120)).await.pop().expect("the lease has run out");
    let mut tx = scene.store.write().await.expect("a transaction");
    let saved = mailboxes::save(&mut tx, &mailbox, &slow).await;
    assert!(matches!(saved, Err(StoreError::LeaseLost)), "{saved:?}");
    let held = leases::hold(&mut tx, &slow, at(200)).await;
    assert!(matches!(held, Err(StoreError::LeaseLost)));
    let released = leases::release(&mut tx, &slow, None, Some(&Spending::default()), at(62)).await;
    assert!(matches!(released, Err(StoreError::LeaseLost)));
    assert!(matches!(mailboxes::leased(&mut tx, &slow).await, Err(StoreError::LeaseLost)));
    assert_eq!(mailboxes::leased(&mut tx, &quick).await.expect("the newer one reads").id, mailbox.id);
    leases::hold(&mut tx, &quick, at(300)).await.expect("the newer one holds");
    // A step that began before the lease was prolonged.
    leases::hold(&mut tx, &quick, at(200)).await.expect("and isn't shortened");
    let next = leases::next_due(&mut tx, &Stream::ALL, at(62)).await.expect("read");
    assert_eq!(next, Some(at(300)));
    leases::release(&mut tx, &quick, None, Some(&Spending::default()), at(63)).await.expect("and is given back");
    let again = leases::hold(&mut tx, &quick, at(300)).await;
    assert!(matches!(again, Err(StoreError::LeaseLost)), "a lease that was given back is gone");
}

async fn one_mailbox_is_claimed_by_one_worker(scene: Scene) {
    let claims = (0..8).map(|worker| {
        let store = scene.store.clone();
        async move {
            let mut tx = store.write().await.expect("a transaction");
            let owner = format!("w{worker}");
            let claimed = leases::claim(&mut tx, &owner, at(1), at(60), Wanted::Due, 10).await.expect("claimed");
            tx.commit().await.expect("committed");
            claimed.len()
        }
    });
    let claimed: usize = futures::future::join_all(claims).await.into_iter().sum();
    assert_eq!(claimed, 1);
}

async fn a_failing_watch_counts_while_its_grant_works(scene: Scene) {
    let other = MailboxId::new(&scene.random);
    let failing = async |except: &MailboxId, before: Timestamp| {
        let mut tx = scene.store.read().await.expect("a transaction");
        mailboxes::other_failing_watches(&mut tx, except, before).await.expect("counted")
    };
    let claimed = claim(&scene, "one", at(1), at(90)).await;
    let (mailbox, lease) = &claimed[0];
    for (problem, expected) in [(None, 0), (Some("Google had trouble.".to_owned()), 1)] {
        let ending = Mailbox { watch_expires_at: Some(at(100)), watch_problem: problem, ..mailbox.clone() };
        let mut tx = scene.store.write().await.expect("a transaction");
        mailboxes::save(&mut tx, &ending, lease).await.expect("saved");
        tx.commit().await.expect("committed");
        assert_eq!(failing(&other, at(101)).await, expected);
    }
    let never = Mailbox { watch_problem: Some("Google had trouble.".to_owned()), ..mailbox.clone() };
    let mut tx = scene.store.write().await.expect("a transaction");
    mailboxes::save(&mut tx, &never, lease).await.expect("saved");
    tx.commit().await.expect("committed");
    let alert_s = (mailboxes::WATCH_ALERT + mailboxes::FIRST_WATCH_ALERT).as_secs();
    for (second, expected) in [(alert_s - 1, 0), (alert_s, 1)] {
        assert_eq!(failing(&other, at(second)).await, expected, "never set: {second}");
        let now = at(second - mailboxes::WATCH_ALERT.as_secs());
        assert_eq!(never.is_watch_failing(now), expected == 1);
    }
    let ending = Mailbox { watch_expires_at: Some(at(100)), ..never };
    let mut tx = scene.store.write().await.expect("a transaction");
    mailboxes::save(&mut tx, &ending, lease).await.expect("saved");
    tx.commit().await.expect("committed");
    assert_eq!(failing(&other, at(100)).await, 0, "it ends later");
    assert_eq!(failing(&scene.mailbox.id, at(101)).await, 0, "the mailbox itself doesn't count");
    let mut tx = scene.store.write().await.expect("a transaction");
    let over = Grant { state: GrantState::NeedsPerson, ..scene.grant.clone() };
    grants::put(&mut tx, &over).await.expect("put");
    tx.commit().await.expect("committed");
    assert_eq!(failing(&other, at(101)).await, 0, "the grant is over, and has its own page");
}

async fn messages_are_paged_newest_first(scene: Scene) {
    let all =
        [message("a", 10, &["INBOX"]), message("b", 30, &["INBOX"]), message("c", 30, &[]), message("d", 20, &[])];
    put(&scene, &all).await;
    let mut tx = scene.store.read().await.expect("a transaction");
    let mut read = Vec::new();
    let mut after: Option<After> = None;
    loop {
        let page = messages::page(&mut tx, &scene.mailbox.id, None, after.as_ref(), 3).await.expect("read");
        let Some(last) = page.last() else { break };
        after = Some(After { received_ms: last.received_ms, id: last.id.clone() });
        read.extend(page.into_iter().map(|it| it.id));
    }
    assert_eq!(read, ["c", "b", "d", "a"]);
    let inbox = messages::page(&mut tx, &scene.mailbox.id, Some("INBOX"), None, 9).await.expect("read");
    assert_eq!(inbox, [all[1].clone(), all[0].clone()]);
    let thread = messages::of_thread(&mut tx, &scene.mailbox.id, "t1", 9).await.expect("read");
    assert_eq!(thread.iter().map(|it| it.id.as_str()).collect::<Vec<_>>(), ["a", "d", "b", "c"]);
    assert_eq!(messages::count(&mut tx, &scene.mailbox.id).await.expect("counted"), 4);
    let ids: Vec<String> = ["a", "zz"].map(str::to_owned).to_vec();
    let found = messages::by_ids(&mut tx, &scene.mailbox.id, &ids).await.expect("read");
    assert_eq!(found.into_values().collect::<Vec<_>>(), [all[0].clone()]);
}

async fn labels_of_messages_follow_their_changes(scene: Scene) {
    put(&scene, &[message("a", 10, &["INBOX", "UNREAD"]), message("b", 20, &["INBOX"])]).await;
    put(&scene, &[message("a", 10, &["STARRED", "UNREAD"])]).await;
    let mut tx = scene.store.write().await.expect("a transaction");
    for (label, expected) in [("INBOX", vec!["b"]), ("STARRED", vec!["a"]), ("UNREAD", vec!["a"])] {
        let page = messages::page(&mut tx, &scene.mailbox.id, Some(label), None, 9).await.expect("read");
        assert_eq!(page.iter().map(|it| it.id.as_str()).collect::<Vec<_>>(), expected, "{label}");
    }
    messages::seen(&mut tx, &scene.mailbox.id, &["b".to_owned()], 2).await.expect("marked");
    let unseen = messages::unseen(&mut tx, &scene.mailbox.id, 2, 9).await.expect("read");
    assert_eq!(unseen.iter().map(|it| it.id.as_str()).collect::<Vec<_>>(), ["a"]);
    assert_eq!(messages::count_unseen(&mut tx, &scene.mailbox.id, 2).await.expect("counted"), 1);
    assert!(messages::delete(&mut tx, &scene.mailbox.id, &unseen[0]).await.expect("deleted"));
    assert!(!messages::delete(&mut tx, &scene.mailbox.id, &unseen[0]).await.expect("it is gone"));
    let starred = messages::page(&mut tx, &scene.mailbox.id, Some("STARRED"), None, 9).await.expect("read");
    assert_eq!(starred, []);
}

async fn fills_keep_their_order_and_repeat_nothing(scene: Scene) {
    let fill = |id: String| Fill { message_id: id, thread_id: "t".into() };
    let first: Vec<Fill> = (0..450).map(|n| fill(format!("m{n:04}"))).collect();
    let mut tx = scene.store.write().await.expect("a transaction");
    fills::add(&mut tx, &scene.organization, &scene.mailbox.id, &first).await.expect("added");
    let second = [fill("m0003".into()), fill("a-later-page".into())];
    fills::add(&mut tx, &scene.organization, &scene.mailbox.id, &second).await.expect("added");
    assert_eq!(fills::count(&mut tx, &scene.mailbox.id).await.expect("counted"), 451);
    let next = fills::next_threads(&mut tx, &scene.mailbox.id, 2).await.expect("read").concat();
    assert_eq!((next.len(), &next[..2]), (451, &first[..2]), "they are of one thread");
    for it in &first {
        fills::done(&mut tx, &scene.mailbox.id, std::slice::from_ref(&it.message_id)).await.expect("done");
    }
    assert_eq!(fills::next_threads(&mut tx, &scene.mailbox.id, 9).await.expect("read").concat(), second[1..]);
}

/// Few have a place each in a statement, many are handed over together: as JSON, or as an array for each column.
async fn many_at_once_are_written_and_found_as_a_few_are(scene: Scene) {
    let odd = ["", "a'b", "\"q\"", "\\", "{c,d}", "NULL", "é\u{1F600}", "$1", "[1]"];
    let (organization, mailbox) = (&scene.organization, &scene.mailbox.id);
    for many in [1, 8, 9, 600, 1_201] {
        let ids: Vec<String> = (0..many).map(|at| format!("{many}.{at}{}", odd[at % odd.len()])).collect();
        let all: Vec<Message> = ids.iter().zip(1..).map(|(id, at)| message(id, at, &["INBOX", "UNREAD"])).collect();
        let fill = |id: &String| Fill { message_id: id.clone(), thread_id: "t".into() };
        let wanted: Vec<Fill> = ids.iter().map(fill).collect();
        let mut tx = scene.store.write().await.expect("a transaction");
        messages::add(&mut tx, organization, mailbox, &all, 1).await.expect("added");
        fills::add(&mut tx, organization, mailbox, &wanted).await.expect("added");
        fills::add(&mut tx, organization, mailbox, &wanted).await.expect("added again");
        let mut asked = ids.clone();
        asked.push("unknown".to_owned());
        let found = messages::by_ids(&mut tx, mailbox, &asked).await.expect("read");
        assert_eq!(found, all.into_iter().map(|it| (it.id.clone(), it)).collect(), "{many}");
        messages::seen(&mut tx, mailbox, &ids, 2).await.expect("marked");
        assert_eq!(messages::unseen(&mut tx, mailbox, 2, 9).await.expect("read"), []);
        fills::done(&mut tx, mailbox, &ids[1..]).await.expect("done");
        assert_eq!(fills::next_threads(&mut tx, mailbox, 9).await.expect("read").concat(), wanted[..1]);
        let counted = messages::count_labelled(&mut tx, mailbox, &["UNREAD"]).await.expect("counted");
        assert_eq!(usize::try_from(counted), Ok(many), "{many}");
        // Dropped: the next begins anew.
    }
    let mut tx = scene.store.write().await.expect("a transaction");
    assert!(messages::by_ids(&mut tx, mailbox, &[]).await.expect("read").is_empty());
    messages::add(&mut tx, organization, mailbox, &[], 1).await.expect("nothing is added");
    fills::done(&mut tx, mailbox, &[]).await.expect("nothing is done");
}

async fn a_noticed_mailbox_is_claimed_before_those_that_are_only_due(scene: Scene) {
    let mut tx = scene.store.write().await.expect("a transaction");
    let due = leases::claim(&mut tx, "a", at(10), at(60), Wanted::Noticed, 10).await.expect("claimed");
    assert!(due.is_empty(), "it is due, and nobody gave notice");
    mailboxes::notice(&mut tx, &[(&scene.mailbox.email, None)], at(10)).await.expect("noticed");
    let noticed = leases::claim(&mut tx, "a", at(10), at(60), Wanted::Noticed, 10).await.expect("claimed");
    assert_eq!(noticed.len(), 1);
}

async fn a_thread_s_fills_come_together(scene: Scene) {
    let fill = |id: &str, thread: &str| Fill { message_id: id.into(), thread_id: thread.into() };
    let all = [fill("m1", "t1"), fill("m2", "t2"), fill("m3", "t1"), fill("m4", "t3"), fill("m5", "t2")];
    let mut tx = scene.store.write().await.expect("a transaction");
    fills::add(&mut tx, &scene.organization, &scene.mailbox.id, &all).await.expect("added");
    let next = fills::next_threads(&mut tx, &scene.mailbox.id, 2).await.expect("read");
    let [m1, m2, m3, _, m5] = all;
    assert_eq!(next, [vec![m1, m3], vec![m2, m5]], "the newest two lead, and bring their threads");
    let left = fills::left(&mut tx, &scene.mailbox.id, 20, 30).await.expect("read");
    assert_eq!(left, Left { messages: 5, units: 30 + 30 + 20 });
}

async fn whoever_is_copied_shares_the_project_and_whoever_can_not_be_read_does_not(scene: Scene) {
    let mut tx = scene.store.write().await.expect("a transaction");
    tx.run("UPDATE grants SET scopes = 'https://www.googleapis.com/auth/gmail.metadata'", Vec::new())
        .await
        .expect("permitted");
    let filling = async |tx: &mut Tx| mailboxes::filling(tx, 500, 20, at(10)).await.expect("read");
    let new = Filling { mailboxes: 1, units: 500 };
    assert_eq!(filling(&mut tx).await, new, "a new mailbox is backfilled, and nobody knows how much it is");
    tx.run("UPDATE mailboxes SET total_messages = 10", Vec::new()).await.expect("known");
    assert_eq!(filling(&mut tx).await, Filling { units: 200, ..new });
    let sql = "UPDATE mailboxes SET failures = 1, failed_since = 1, failed_why_since = 1, failed_why = 'no_mailbox'";
    tx.run(sql, Vec::new()).await.expect("hindered");
    assert_eq!(filling(&mut tx).await, Filling::default(), "who can't be read takes nothing from the others");
}

async fn processes_that_share_the_quota_know_of_each_other(scene: Scene) {
    let mut tx = scene.store.write().await.expect("a transaction");
    turns::hold_parts(&mut tx).await.expect("held");
    let engine = |id: &str, seen_s: i64, most: i64, wish: i64, has_ended: bool| Engine {
        id: id.into(),
        seen_at: at(seen_s),
        most,
        wish,
        has_ended,
    };
    quota::attend(&mut tx, "one", None, (500, 600), at(100)).await.expect("attended");
    assert_eq!(quota::others(&mut tx, "one", at(0), at(30)).await.expect("read"), []);
    quota::attend(&mut tx, "two", Some("here"), (1, 2), at(110)).await.expect("attended");
    quota::attend(&mut tx, "two", Some("here"), (300, 400), at(111)).await.expect("attended");
    quota::attend(&mut tx, "three", Some("there"), (70, 80), at(110)).await.expect("attended");
    quota::leave(&mut tx, "three", 60, at(112)).await.expect("left");
    let (two, three) = (engine("two", 111, 300, 400, false), engine("three", 112, 60, 0, true));
    assert_eq!(quota::others(&mut tx, "one", at(12), at(42)).await.expect("read"), [three, two.clone()]);
    assert_eq!(quota::others(&mut tx, "one", at(90), at(112)).await.expect("read"), [two], "it ended a minute ago");
    assert_eq!(quota::succeed(&mut tx, "four", "there", at(120)).await.expect("ended"), 0, "nobody is there");
    let claimed = leases::claim(&mut tx, "two", at(115), at(200), Wanted::Due, 10).await.expect("claimed");
    assert_eq!(claimed.len(), 1);
    assert_eq!(
        leases::end_all(&mut tx, "one", &Spending::once(at(120), 5)).await.expect("ended"),
        0,
        "that isn't theirs"
    );
    assert_eq!(quota::succeed(&mut tx, "four", "here", at(120)).await.expect("ended"), 1);
    assert!(leases::hold(&mut tx, &claimed[0], at(210)).await.is_err(), "the lease has ended");
    let free = mailboxes::by_id(&mut tx, &scene.mailbox.id).await.expect("read").expect("there");
    assert_eq!(free.spent, Spending::once(at(120), UNKNOWN_SPENT), "nobody knows what it cost");
    let again = leases::claim(&mut tx, "four", at(120), at(200), Wanted::Due, 10).await.expect("claimed");
    assert!(again.len() == 1 && again[0].after_a_break, "{again:?}");
    let two = engine("two", 120, 300, 0, true);
    assert_eq!(
        quota::others(&mut tx, "one", at(90), at(112)).await.expect("read"),
        [two],
        "what it spent still counts"
    );
    assert_eq!(quota::others(&mut tx, "one", at(120), at(112)).await.expect("read"), []);
    assert_eq!(quota::held_until(&mut tx, "gmail").await.expect("read"), None);
    let hold = |until, correction| quota::Hold { until: at(until), correction, day: None };
    let less = Correction { less: 100, until: at(900) };
    quota::hold(&mut tx, "gmail", hold(500, Some(less))).await.expect("held");
    quota::hold(&mut tx, "gmail", hold(400, None)).await.expect("held");
    let sooner = Correction { less: 200, until: at(800) };
    quota::hold(&mut tx, "gmail", hold(400, Some(sooner))).await.expect("held");
    assert_eq!(quota::held_until(&mut tx, "gmail").await.expect("read"), Some(at(500)));
    assert_eq!(quota::held(&mut tx, "gmail").await.expect("read"), Some(hold(500, Some(less))));
    for units in [7_000, 8_000] {
        let day = Some(quota::DayLimit { units, until: at(950) });
        quota::hold(&mut tx, "gmail", quota::Hold { day, ..hold(400, None) }).await.expect("held");
        quota::hold(&mut tx, "gmail", hold(400, None)).await.expect("held");
        let held = quota::held(&mut tx, "gmail").await.expect("read");
        assert_eq!(held, Some(quota::Hold { day, ..hold(500, Some(less)) }), "the latest word of the day");
    }
    quota::forget_day(&mut tx, "gmail").await.expect("forgotten");
    assert_eq!(quota::held(&mut tx, "gmail").await.expect("read"), Some(hold(500, Some(less))));
    assert_eq!(quota::held_until(&mut tx, "calendar").await.expect("read"), None);
    leases::release(&mut tx, &again[0], Some(at(505)), Some(&Spending::default()), at(130)).await.expect("released");
    leases::hasten(&mut tx, Stream::Mail, at(506), at(140)).await.expect("nobody waits so long");
    assert_eq!(leases::next_due(&mut tx, &[Stream::Mail], at(140)).await.expect("read"), Some(at(505)));
    quota::lift(&mut tx, quota::SERVICES[0], at(140)).await.expect("lifted");
    assert_eq!(quota::held_until(&mut tx, "gmail").await.expect("read"), None);
    assert_eq!(
        leases::next_due(&mut tx, &[Stream::Mail], at(140)).await.expect("read"),
        Some(at(140)),
        "it is due at once"
    );
    for (why, stays) in [("person", true), ("project", false), ("day", false)] {
        let lease = leases::claim(&mut tx, "four", at(140), at(200), Wanted::Due, 10).await.expect("claimed").remove(0);
        leases::pause(&mut tx, &lease, at(600), why).await.expect("paused");
        leases::release(&mut tx, &lease, Some(at(600)), None, at(140)).await.expect("released");
        leases::hasten(&mut tx, Stream::Mail, at(500), at(140)).await.expect("lifted");
        let mailbox = mailboxes::by_id(&mut tx, &scene.mailbox.id).await.expect("read").expect("there");
        assert_eq!((mailbox.due_at, mailbox.paused_until.is_some()), (Some(at(140)), stays), "{why}");
    }
}

async fn a_day_s_units_add_up(scene: Scene) {
    let mut tx = scene.store.write().await.expect("a transaction");
    assert_eq!(quota::spent(&mut tx, "gmail", 7).await.expect("read"), 0);
    assert_eq!(quota::spend(&mut tx, "gmail", 7, 100).await.expect("spent"), 100);
    assert_eq!(quota::spend(&mut tx, "gmail", 7, 20).await.expect("spent"), 120);
    assert_eq!(quota::spend(&mut tx, "gmail", 8, 1).await.expect("spent"), 1);
    assert_eq!(quota::spent(&mut tx, "gmail", 7).await.expect("read"), 120);
    assert_eq!(quota::spend(&mut tx, "calendar", 7, 3).await.expect("spent"), 3, "each service has its own");
    let organization = &scene.organization;
    assert_eq!(quota::backfill_day_percent(&mut tx, organization).await.expect("read"), 80);
    quota::set_backfill_day_percent(&mut tx, organization, 50).await.expect("set");
    assert_eq!(quota::backfill_day_percent(&mut tx, organization).await.expect("read"), 50);
    assert_eq!(quota::backfill_days(&mut tx, organization).await.expect("read"), None);
    for days in [Some(90), None] {
        quota::set_backfill_days(&mut tx, organization, days).await.expect("set");
        assert_eq!(quota::backfill_days(&mut tx, organization).await.expect("read"), days);
    }
}

async fn a_label_is_compared_with_its_sightings(scene: Scene) {
    let both = ["INBOX", "STARRED"];
    put(&scene, &[message("m1", 10, &both), message("m2", 20, &["STARRED"]), message("m3", 30, &["INBOX"])]).await;
    let (organization, mailbox) = (&scene.organization, &scene.mailbox.id);
    let mut tx = scene.store.write().await.expect("a transaction");
    assert_eq!(sightings::labels(&mut tx, mailbox).await.expect("read"), both);
    let seen = |ids: &[&str]| ids.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>();
    sightings::add(&mut tx, organization, mailbox, "INBOX", &seen(&["m1"])).await.expect("added");
    sightings::add(&mut tx, organization, mailbox, "INBOX", &seen(&["m1", "m2", "unknown"])).await.expect("added");
    assert_eq!(sightings::compare(&mut tx, mailbox, "INBOX").await.expect("compared"), 2);
    let differing = fills::next_threads(&mut tx, mailbox, 9).await.expect("read").concat();
    let differing: Vec<&str> = differing.iter().map(|it| it.message_id.as_str()).collect();
    assert_eq!(differing, ["m3", "m2"], "lost at Google, and new at Google");
    sightings::clear(&mut tx, mailbox).await.expect("cleared");
    assert_eq!(sightings::compare(&mut tx, mailbox, "INBOX").await.expect("compared"), 1, "m3 waits already");
}

async fn labels_are_kept(scene: Scene) {
    let label = |id: &str, name: &str| Label { id: id.into(), name: name.into(), kind: LabelKind::User };
    let mut tx = scene.store.write().await.expect("a transaction");
    for it in [label("Label_2", "Two"), label("Label_1", "One"), label("Label_2", "Zwei")] {
        labels::put(&mut tx, &scene.organization, &scene.mailbox.id, &it).await.expect("put");
    }
    let all = labels::list(&mut tx, &scene.mailbox.id).await.expect("read");
    assert_eq!(all, [label("Label_1", "One"), label("Label_2", "Zwei")]);
    labels::delete(&mut tx, &scene.mailbox.id, "Label_1").await.expect("deleted");
    assert_eq!(labels::list(&mut tx, &scene.mailbox.id).await.expect("read").len(), 1);
}

async fn debts_are_due_at_their_time(scene: Scene) {
    let debt = |id: &str, tries, due: i64| Debt {
        message_id: id.into(),
        thread_id: "t".into(),
        reason: "transient".into(),
        tries,
        since: at(1),
        due_at: at(due),
        in_bulk: false,
    };
    let mut tx = scene.store.write().await.expect("a transaction");
    assert_eq!(debts::outlook(&mut tx, &scene.mailbox.id).await.expect("read"), (0, None));
    for it in [debt("a", 1, 10), debt("b", 1, 20), debt("a", 2, 30)] {
        debts::owe(&mut tx, &scene.organization, &scene.mailbox.id, &it).await.expect("owed");
    }
    assert_eq!(debts::due(&mut tx, &scene.mailbox.id, at(29), 9).await.expect("read"), [debt("b", 1, 20)]);
    assert_eq!(debts::outlook(&mut tx, &scene.mailbox.id).await.expect("read"), (2, Some(at(20))));
    let reasons = debts::reasons(&mut tx, &scene.mailbox.id).await.expect("read");
    assert_eq!(reasons, [("transient".to_owned(), 2)]);
    debts::paid(&mut tx, &scene.mailbox.id, &["b".to_owned()]).await.expect("paid");
    assert_eq!(debts::list(&mut tx, &scene.mailbox.id, 9).await.expect("read"), [debt("a", 2, 30)]);

    // What a copy owes comes behind changes, until something happens to it.
    let in_bulk = |id: &str, due| Debt { in_bulk: true, ..debt(id, 1, due) };
    for it in [in_bulk("c", 5), in_bulk("a", 30), in_bulk("d", 6), debt("d", 1, 7)] {
        debts::owe(&mut tx, &scene.organization, &scene.mailbox.id, &it).await.expect("owed");
    }
    let due = debts::due(&mut tx, &scene.mailbox.id, at(30), 9).await.expect("read");
    assert_eq!(due, [debt("d", 1, 7), debt("a", 1, 30), in_bulk("c", 5)]);
    for (now, is_due) in [(4, false), (5, true)] {
        let found = debts::is_due_in_bulk(&mut tx, &scene.mailbox.id, at(now)).await.expect("read");
        assert_eq!(found, is_due, "{now}");
    }
}

async fn an_audit_is_wanted_once_and_a_day_after_the_last(scene: Scene) {
    let (organization, mailbox) = (&scene.organization, &scene.mailbox.id);
    let mut tx = scene.store.write().await.expect("a transaction");
    assert_eq!(coverage::of_mailbox(&mut tx, mailbox).await.expect("read"), Coverage::default());
    coverage::want(&mut tx, organization, mailbox, at(50)).await.expect("wanted");
    coverage::want(&mut tx, organization, mailbox, at(90)).await.expect("wanted already");
    assert_eq!(coverage::of_mailbox(&mut tx, mailbox).await.expect("read").due_at, Some(at(50)));
    let found = Coverage {
        audited_at: Some(at(60)),
        history_id: Some(HistoryId(u64::MAX)),
        google_count: Some(7),
        held_count: Some(6),
        misses: 1,
        differed_id: Some(HistoryId(6)),
        labels_misses: 3,
        labels_differed_id: Some(HistoryId(5)),
        repaired_at: Some(at(55)),
        due_at: None,
        explained: Some(-2),
        explained_at: Some(at(56)),
        labels_differ: Some("INBOX+1 UNREAD-2".into()),
        labels_explained: Some("INBOX+1".into()),
        labels_explained_at: Some(at(57)),
        labels_repaired_at: Some(at(58)),
    };
    coverage::put(&mut tx, organization, mailbox, &found).await.expect("kept");
    assert_eq!(coverage::of_mailbox(&mut tx, mailbox).await.expect("read"), found);
    coverage::want(&mut tx, organization, mailbox, at(70)).await.expect("wanted");
    let due_at = Some(at(60 + 24 * 3600));
    assert_eq!(coverage::of_mailbox(&mut tx, mailbox).await.expect("read"), Coverage { due_at, ..found });
}

async fn labelled_messages_are_counted_once(scene: Scene) {
    put(&scene, &[message("m1", 10, &["SPAM", "TRASH"]), message("m2", 20, &["TRASH"]), message("m3", 30, &[])]).await;
    let mut tx = scene.store.read().await.expect("a transaction");
    let counted = messages::count_labelled(&mut tx, &scene.mailbox.id, &["SPAM", "TRASH"]).await.expect("read");
    assert_eq!(counted, 2);
    let both = async |tx: &mut intail::store::Tx, label| {
        messages::count_labelled_both(tx, &scene.mailbox.id, label, &["SPAM", "TRASH"]).await.expect("read")
    };
    assert_eq!((both(&mut tx, "SPAM").await, both(&mut tx, "TRASH").await, both(&mut tx, "INBOX").await), (1, 2, 0));
}

async fn the_feed_is_numbered_without_gaps(scene: Scene) {
    put(&scene, &[message("m1", 10, &["INBOX"])]).await;
    let appends = (0..10).map(|n| {
        let (store, organization, person, mailbox) =
            (scene.store.clone(), scene.organization.clone(), scene.person.id.clone(), scene.mailbox.id.clone());
        async move {
            let change =
                |id: &str| NewChange { kind: "message.added", subject_id: id.to_owned(), data: json!({ "by": n }) };
            let of = Of { organization: &organization, person: Some(&person), stream: (&mailbox).into() };
            let mut tx = store.write().await.expect("a transaction");
            let last = changes::append(&mut tx, of, &[change("m1"), change("gone")], at(n)).await.expect("appended");
            if n % 2 == 0 {
                tx.commit().await.expect("committed");
            }
            last
        }
    });
    futures::future::join_all(appends).await;
    let mut tx = scene.store.write().await.expect("a transaction");
    let read = changes::of_person(&mut tx, &scene.person.id, 0, 100).await.expect("read");
    assert_eq!(read.iter().map(|it| it.seq).collect::<Vec<_>>(), (1..=10).collect::<Vec<_>>());
    assert_eq!(read[0].message.as_ref().map(|it| it.subject.as_str()), Some("Gruß 👋"));
    assert!(read[1].message.is_none(), "the message has gone since");
    assert_eq!((read[1].kind.as_str(), &read[1].stream), ("message.added", &StreamId::from(&scene.mailbox.id)));
    let newest = changes::newest_of_person(&mut tx, &scene.person.id, 10, 2).await.expect("read");
    assert_eq!(newest.iter().map(|it| it.seq).collect::<Vec<_>>(), [9, 8]);
    assert_eq!(changes::last_seq(&mut tx, &scene.organization).await.expect("read"), 10);
    assert_eq!(changes::append(&mut tx, scene.of(), &[], at(1)).await.expect("nothing to append"), None);
}

async fn calls_are_summed_by_day(scene: Scene) {
    let count = |day: &str, calls| CallCount {
        day: day.into(),
        call: "gmail.messages.get".into(),
        outcome: "ok".into(),
        calls,
        units: 20 * calls,
        bytes: 100,
        last_at: at(calls),
    };
    let mut tx = scene.store.write().await.expect("a transaction");
    call_counts::add(&mut tx, &scene.organization, &scene.grant.id, &[]).await.expect("nothing to add");
    for some in [vec![count("2026-11-21", 1), count("2026-11-22", 2)], vec![count("2026-11-22", 3)]] {
        call_counts::add(&mut tx, &scene.organization, &scene.grant.id, &some).await.expect("added");
    }
    let all = call_counts::of_grant(&mut tx, &scene.grant.id, 9).await.expect("read");
    assert_eq!(
        all.iter().map(|it| (it.day.as_str(), it.calls, it.units, it.bytes)).collect::<Vec<_>>(),
        [("2026-11-22", 5, 100, 200), ("2026-11-21", 1, 20, 100)]
    );
    let mut by_outcome = BTreeMap::new();
    all.iter().for_each(|it| *by_outcome.entry(it.outcome.as_str()).or_insert(0) += it.calls);
    for (outcome, calls) in &by_outcome {
        let others: i64 = by_outcome.values().sum::<i64>() - calls;
        assert_eq!(call_counts::calls_but(&mut tx, &scene.grant.id, outcome).await.expect("read"), others, "{outcome}");
    }
    let sums = call_counts::sums(&mut tx, &scene.grant.id).await.expect("read");
    assert_eq!((sums.calls, sums.units, sums.bytes), (6, 120, 300));
    assert_eq!((sums.first_day.as_deref(), sums.last_day.as_deref()), (Some("2026-11-21"), Some("2026-11-22")));
    assert_eq!(call_counts::sweep(&mut tx, "2026-11-23", 1).await.expect("forgotten"), 1, "so many at once");
    assert_eq!(call_counts::sweep(&mut tx, "2026-11-22", 9).await.expect("forgotten"), 0, "only what is older");
    assert_eq!(call_counts::of_grant(&mut tx, &scene.grant.id, 9).await.expect("read").len(), 1);
}

/// Writes so many entries, one second apart, each in a transaction of its own.
async fn audited(scene: &Scene, seconds: std::ops::Range<i64>) {
    for second in seconds {
        let mut tx = scene.store.write().await.expect("a transaction");
        let entry = Entry {
            organization: &scene.organization,
            actor: Actor::Person(scene.person.id.clone()),
            action: "person.signed_in",
            about: scene.person.id.as_str(),
            origin: Origin::Address("192.0.2.7".parse().expect("an address")),
            detail: json!({"second": second}),
        };
        record(&mut tx, entry, at(second)).await.expect("recorded");
        tx.commit().await.expect("committed");
    }
}

async fn chain_of(scene: &Scene) -> Chain {
    let mut tx = scene.store.read().await.expect("a transaction");
    audit::chain(&mut tx, &scene.organization).await.expect("read")
}

async fn an_audit_log_has_no_gap_whoever_writes(scene: Scene) {
    assert_eq!(
        verify(&scene.store, &scene.organization).await.expect("walked"),
        Verified::Whole { entries: 0, last_seq: 0, last_hash: String::new() }
    );
    futures::join!(audited(&scene, 0..20), audited(&scene, 20..40), audited(&scene, 40..60));
    {
        // What isn't committed never happened, and leaves no gap.
        let mut tx = scene.store.write().await.expect("a transaction");
        let (seq, _) = audit::next(&mut tx, &scene.organization).await.expect("a number");
        assert_eq!(seq, 61);
    }
    audited(&scene, 60..61).await;
    let mut tx = scene.store.read().await.expect("a transaction");
    let all = audit::after(&mut tx, &scene.organization, 0, 100).await.expect("read");
    assert_eq!(all.iter().map(|it| it.seq).collect::<Vec<_>>(), (1..=61).collect::<Vec<_>>());
    assert_eq!((all[60].origin.as_str(), all[60].detail.as_str()), ("192.0.2.7", "{\"second\":60}"));
    let filter = Filter { action: "person.".into(), who: scene.person.id.to_string() };
    let newest = audit::list(&mut tx, &scene.organization, &filter, 61, 2).await.expect("read");
    assert_eq!(newest.iter().map(|it| it.seq).collect::<Vec<_>>(), [60, 59]);
    for none in [Filter { action: "policy.".into(), ..filter.clone() }, Filter { who: "operator".into(), ..filter }] {
        assert_eq!(audit::list(&mut tx, &scene.organization, &none, 61, 2).await.expect("read"), []);
    }
    drop(tx);
    let whole = verify(&scene.store, &scene.organization).await.expect("walked");
    let last_hash = chain_of(&scene).await.last_hash;
    assert_eq!(whole, Verified::Whole { entries: 61, last_seq: 61, last_hash });
}

async fn what_repeats_itself_is_in_an_audit_log_once_an_hour(scene: Scene) {
    let refused = async |second: i64, outcome: &str| {
        let mut tx = scene.store.write().await.expect("a transaction");
        let entry = Entry {
            organization: &scene.organization,
            actor: Actor::Intail,
            action: "connection.refused",
            about: scene.person.id.as_str(),
            origin: Origin::Unknown,
            detail: json!({"outcome": outcome}),
        };
        let written = record_once(&mut tx, entry, at(second)).await.expect("recorded");
        tx.commit().await.expect("committed");
        written
    };
    let at_once = futures::join!(refused(0, "replayed"), refused(0, "replayed"), refused(0, "replayed"));
    assert_eq!([at_once.0, at_once.1, at_once.2].into_iter().filter(|it| *it).count(), 1, "however many come at once");
    assert!(refused(1, "too_many").await, "another reason is another entry");
    assert!(!refused(3_599, "replayed").await && refused(3_600, "replayed").await, "it goes on");
    audited(&scene, 3_601..3_611).await;
    let mut tx = scene.store.write().await.expect("a transaction");
    audit::hold(&mut tx, &scene.organization).await.expect("held");
    let detail = "{\"outcome\":\"replayed\"}";
    let of = audit::Repeated { action: "connection.refused", about: scene.person.id.as_str(), detail, since: at(0) };
    let is_there = async |tx: &mut intail::store::Tx, of, limit| {
        audit::is_repeated(tx, &scene.organization, of, limit).await.expect("read")
    };
    assert!(is_there(&mut tx, of, 11).await && !is_there(&mut tx, of, 10).await, "only so many are looked through");
    assert!(!is_there(&mut tx, audit::Repeated { since: at(3_600), ..of }, 99).await);
    assert!(!is_there(&mut tx, audit::Repeated { about: "somebody else", ..of }, 99).await);
    drop(tx);
    assert!(matches!(verify(&scene.store, &scene.organization).await.expect("walked"), Verified::Whole { .. }));
}

async fn what_was_done_to_an_audit_log_shows(scene: Scene) {
    audited(&scene, 0..3).await;
    // An entry that doesn't hang on the one before, as somebody would write it who has the database alone.
    let mut tx = scene.store.write().await.expect("a transaction");
    let (seq, before) = audit::next(&mut tx, &scene.organization).await.expect("a number");
    assert_eq!((seq, before.len()), (4, 64));
    let forged = AuditEntry {
        seq,
        at: at(3),
        actor: "operator".into(),
        action: "role.changed".into(),
        about: scene.person.id.to_string(),
        origin: "cli".into(),
        detail: "{}".into(),
        hash: before,
    };
    audit::append(&mut tx, &scene.organization, &forged).await.expect("appended");
    tx.commit().await.expect("committed");
    audited(&scene, 4..6).await;
    let broken = verify(&scene.store, &scene.organization).await.expect("walked");
    assert_eq!(broken, Verified::Broken { seq: 4, why: "the entry isn't what was written" });
    // A number that was taken without an entry: one is missing.
    let mut tx = scene.store.write().await.expect("a transaction");
    let other = OrganizationId::new(&scene.random);
    audit::next(&mut tx, &other).await.expect("a number");
    tx.commit().await.expect("committed");
    let broken = verify(&scene.store, &other).await.expect("walked");
    assert_eq!(broken, Verified::Broken { seq: 1, why: "entries at the new end are missing" });
    // The chain's end taken away, and what it held together left.
    let mut tx = scene.store.write().await.expect("a transaction");
    tx.run("DELETE FROM audit_chains", Vec::new()).await.expect("ran");
    tx.commit().await.expect("committed");
    let broken = verify(&scene.store, &scene.organization).await.expect("walked");
    assert_eq!(broken, Verified::Broken { seq: 1, why: "an entry stands behind the chain's end" });
}

async fn old_audit_entries_go_and_the_rest_still_verifies(scene: Scene) {
    const DAY: i64 = 86_400;
    audited(&scene, 0..5).await;
    audited(&scene, 100 * DAY..100 * DAY + 4).await;
    let now = at(400 * DAY + 3);
    assert_eq!(remove_old(&scene.store, now).await.expect("removed"), 3, "400 days, to the microsecond");
    assert_eq!(remove_old(&scene.store, now).await.expect("removed"), 0);
    let chain = chain_of(&scene).await;
    assert_eq!((chain.removed_seq, chain.last_seq), (3, 9));
    let last_hash = chain.last_hash.clone();
    let whole = verify(&scene.store, &scene.organization).await.expect("walked");
    assert_eq!(whole, Verified::Whole { entries: 6, last_seq: 9, last_hash: last_hash.clone() });
    let mut tx = scene.store.write().await.expect("a transaction");
    assert_eq!(audit::remove(&mut tx, &scene.organization, at(90 * DAY), 1).await.expect("removed"), 1, "one at once");
    tx.commit().await.expect("committed");
    assert_eq!(remove_old(&scene.store, at(900 * DAY)).await.expect("removed"), 5);
    let empty = verify(&scene.store, &scene.organization).await.expect("walked");
    assert_eq!(empty, Verified::Whole { entries: 0, last_seq: 9, last_hash });
    audited(&scene, 900 * DAY..900 * DAY + 1).await;
    let whole = verify(&scene.store, &scene.organization).await.expect("walked");
    assert!(matches!(whole, Verified::Whole { entries: 1, last_seq: 10, .. }), "{whole:?}");
}

async fn one_process_looks_after_the_heartbeat(scene: Scene) {
    let mut tx = scene.store.write().await.expect("a transaction");
    assert_eq!(heartbeat::get(&mut tx).await.expect("read"), None);
    assert!(heartbeat::claim(&mut tx, at(10), at(70)).await.expect("claimed"), "the first");
    assert!(!heartbeat::claim(&mut tx, at(69), at(130)).await.expect("asked"), "not due");
    assert!(heartbeat::claim(&mut tx, at(70), at(130)).await.expect("claimed"), "due again");
    heartbeat::send(&mut tx, "beat", at(70)).await.expect("sent");
    assert!(!heartbeat::arrive(&mut tx, "another", at(71)).await.expect("asked"));
    assert!(heartbeat::arrive(&mut tx, "beat", at(72)).await.expect("arrived"));
    assert!(!heartbeat::arrive(&mut tx, "beat", at(73)).await.expect("asked"), "once");
    let proved = Heartbeat {
        sent_at: at(70),
        is_pending: false,
        arrived_at: Some(at(72)),
        arrived_sent_at: Some(at(70)),
        due_at: at(130),
    };
    assert_eq!(heartbeat::get(&mut tx).await.expect("read"), Some(proved));
    heartbeat::send(&mut tx, "lost", at(130)).await.expect("sent");
    heartbeat::unsend(&mut tx, "beat").await.expect("an old one");
    assert!(heartbeat::get(&mut tx).await.expect("read").is_some_and(|it| it.is_pending));
    heartbeat::unsend(&mut tx, "lost").await.expect("unsent");
    assert!(heartbeat::get(&mut tx).await.expect("read").is_some_and(|it| !it.is_pending));
}

async fn what_nobody_told_of_is_counted_until_somebody_tells(scene: Scene) {
    let mut tx = scene.store.write().await.expect("a transaction");
    let mailbox = &scene.mailbox;
    assert_eq!(mailboxes::untold(&mut tx).await.expect("read"), 0);
    mailboxes::find_untold(&mut tx, &mailbox.id, at(20)).await.expect("found");
    mailboxes::find_untold(&mut tx, &mailbox.id, at(30)).await.expect("found");
    assert_eq!(mailboxes::untold(&mut tx).await.expect("read"), 2);
    mailboxes::wake(&mut tx, &mailbox.id, at(31)).await.expect("woken");
    assert_eq!(mailboxes::untold(&mut tx).await.expect("read"), 2, "that wasn't Google");
    mailboxes::notice(&mut tx, &[(&mailbox.email, None)], at(32)).await.expect("noticed");
    assert_eq!(mailboxes::untold(&mut tx).await.expect("read"), 0);
}

async fn promise_7_a_notice_of_what_is_stored_already_makes_nothing_due(scene: Scene) {
    let (mut mailbox, lease) = claim(&scene, "w", at(1), at(60)).await.pop().expect("it is due");
    let mut tx = scene.store.write().await.expect("a transaction");
    let email = mailbox.email.clone();
    let told = |id| [(email.as_str(), Some(HistoryId(id)))];
    let before = mailboxes::notice(&mut tx, &told(1), at(2)).await.expect("noticed");
    assert_eq!((before.mailboxes, before.known), (1, 0), "nothing is known before the first reading");
    mailbox.cursor = Some(HistoryId(10));
    mailboxes::save(&mut tx, &mailbox, &lease).await.expect("saved");
    leases::release(&mut tx, &lease, Some(at(500)), Some(&Spending::default()), at(3)).await.expect("released");
    let (again, lease) = {
        tx.commit().await.expect("committed");
        claim(&scene, "w", at(4), at(60)).await.pop().expect("it was noticed during its run")
    };
    let mut tx = scene.store.write().await.expect("a transaction");
    leases::release(&mut tx, &lease, Some(at(500)), Some(&Spending::default()), at(5)).await.expect("released");
    mailboxes::find_untold(&mut tx, &mailbox.id, at(6)).await.expect("found");
    // As numbers 9 < 10; as text it would be the other way round.
    for id in [9, 10] {
        let noticed = mailboxes::notice(&mut tx, &told(id), at(7)).await.expect("noticed");
        assert_eq!(noticed, Noticed { mailboxes: 0, known: 1, unknown: 0 });
    }
    let there = mailboxes::by_id(&mut tx, &mailbox.id).await.expect("read").expect("there");
    assert_eq!((there.due_at, there.notices, there.noticed_at), (Some(at(500)), again.notices, again.noticed_at));
    assert_eq!(mailboxes::untold(&mut tx).await.expect("read"), 0, "Google was heard");
    let noticed = mailboxes::notice(&mut tx, &told(11), at(8)).await.expect("noticed");
    assert_eq!((noticed.mailboxes, noticed.known), (1, 0));
    let there = mailboxes::by_id(&mut tx, &mailbox.id).await.expect("read").expect("there");
    assert_eq!((there.due_at, there.notices), (Some(at(8)), again.notices + 1));
}

async fn operator_faults_keep_their_since(scene: Scene) {
    let mut tx = scene.store.write().await.expect("a transaction");
    operator_faults::raise(&mut tx, "pubsub.topic_missing", "first", at(1)).await.expect("raised");
    operator_faults::raise(&mut tx, "pubsub.topic_missing", "second", at(5)).await.expect("raised");
    let all = operator_faults::list(&mut tx).await.expect("read");
    assert_eq!((all[0].since, all[0].last_at, all[0].detail.as_str()), (at(1), at(5), "second"));
    operator_faults::clear(&mut tx, "pubsub.topic_missing").await.expect("cleared");
    assert_eq!(operator_faults::list(&mut tx).await.expect("read"), []);
}

async fn access_keys_belong_to_their_person(scene: Scene) {
    let stranger = person(&scene.random, &scene.organization, "2");
    let mut tx = scene.store.write().await.expect("a transaction");
    people::create(&mut tx, &stranger, at(0)).await.expect("created");
    let (ours, theirs) = (&scene.person.id, &stranger.id);
    let mut make = async |hash: &str, whose: &PersonId, form| {
        access_keys::create(&mut tx, hash, whose, "laptop", form, at(1)).await.expect("created")
    };
    assert!(make("h", ours, Some("form")).await);
    assert!(!make("i", ours, Some("form")).await, "a form makes one");
    assert!(make("j", theirs, Some("form")).await, "another's form is another");
    assert!(make("k", theirs, None).await && make("l", theirs, None).await);
    access_keys::used(&mut tx, "h", at(2)).await.expect("written");
    let whose = access_keys::person_of(&mut tx, "h").await.expect("read").map(|it| it.id);
    assert_eq!(whose.as_ref(), Some(&scene.person.id));
    let keys = access_keys::of_person(&mut tx, &scene.person.id, 9).await.expect("read");
    assert_eq!((keys[0].name.as_str(), keys[0].used_at), ("laptop", Some(at(2))));
    assert!(!access_keys::delete(&mut tx, &stranger.id, "h").await.expect("not theirs"));
    assert!(access_keys::delete(&mut tx, &scene.person.id, "h").await.expect("deleted"));
    assert!(access_keys::person_of(&mut tx, "h").await.expect("read").is_none());
}

async fn key_proofs_are_kept(scene: Scene) {
    let mut tx = scene.store.write().await.expect("a transaction");
    assert!(key_proofs::add(&mut tx, "k1", "first", at(2)).await.expect("added"));
    assert!(!key_proofs::add(&mut tx, "k1", "second", at(3)).await.expect("the first stays"));
    assert!(key_proofs::add(&mut tx, "k2", "newer", at(1)).await.expect("added"));
    key_proofs::hold(&mut tx).await.expect("held");
    let proof = |key_id: &str, sealed: &str, second, resealed_at| KeyProof {
        key_id: key_id.into(),
        sealed: sealed.into(),
        created_at: at(second),
        resealed_at,
    };
    let (first, newer) = (proof("k1", "first", 2, None), proof("k2", "newer", 1, None));
    assert_eq!(key_proofs::list(&mut tx).await.expect("read"), [first, newer], "as they were added, whatever the time");
    assert!(key_proofs::resealed(&mut tx, "k2", at(5)).await.expect("written"));
    assert!(!key_proofs::resealed(&mut tx, "k2", at(6)).await.expect("known"));
    assert!(key_proofs::remove(&mut tx, "k1").await.expect("removed"));
    assert!(!key_proofs::remove(&mut tx, "k1").await.expect("gone"));
    assert_eq!(key_proofs::list(&mut tx).await.expect("read"), [proof("k2", "newer", 1, Some(at(5)))]);
}

async fn processes_are_known_while_they_say_so(scene: Scene) {
    let mut tx = scene.store.write().await.expect("a transaction");
    processes::say(&mut tx, &process("a", "k1"), at(1)).await.expect("said");
    processes::say(&mut tx, &process("b", "k1"), at(2)).await.expect("said");
    processes::say(&mut tx, &process("a", "k2"), at(5)).await.expect("said again");
    let running = processes::running(&mut tx, at(1), 9).await.expect("read");
    assert_eq!(running, [process("a", "k2"), process("b", "k1")]);
    assert_eq!(processes::running(&mut tx, at(2), 9).await.expect("read"), [process("a", "k2")]);
    processes::forget(&mut tx, at(2)).await.expect("forgotten");
    assert_eq!(processes::running(&mut tx, at(0), 9).await.expect("read"), [process("a", "k2")]);
    processes::leave(&mut tx, "a").await.expect("left");
    assert_eq!(processes::running(&mut tx, at(0), 9).await.expect("read"), []);
}

async fn a_sealed_text_is_swapped_only_while_it_is_the_same(scene: Scene) {
    let of = |column: &str| {
        let found = PLACES.into_iter().find(|it| (it.table, it.column) == ("grants", column));
        found.expect("it is listed")
    };
    let (refresh, access) = (of("refresh_sealed"), of("access_sealed"));
    let mut tx = scene.store.write().await.expect("a transaction");
    assert_eq!(sealed::count(&mut tx, "k1").await.expect("counted"), 1);
    assert_eq!(sealed::count(&mut tx, "k").await.expect("counted"), 0, "another key, however it begins");
    assert_eq!(sealed::not_under(&mut tx, refresh, "k1", "", 9).await.expect("read"), []);
    assert_eq!(sealed::not_under(&mut tx, access, "k2", "", 9).await.expect("read"), [], "there is none");
    let found = sealed::not_under(&mut tx, refresh, "k2", "", 9).await.expect("read");
    let id = scene.grant.id.to_string();
    let old = Sealed { key: id.clone(), row: format!("grants/{id}/refresh"), text: "k1.sealed".into() };
    assert_eq!(found, std::slice::from_ref(&old));
    assert_eq!(sealed::not_under(&mut tx, refresh, "k2", &id, 9).await.expect("read"), []);
    assert!(sealed::swap(&mut tx, refresh, &old, "k2.sealed").await.expect("swapped"));
    assert!(!sealed::swap(&mut tx, refresh, &old, "k2.late").await.expect("not any more"));
    assert_eq!(sealed::count(&mut tx, "k2").await.expect("counted"), 1);
    for place in PLACES {
        sealed::not_under(&mut tx, place, "k9", "", 9).await.expect("each can be read");
    }
}

/// What a backup and its restoring do, on this database and a SQLite file.
async fn everything_is_copied_as_it_is(scene: Scene) {
    put(&scene, &[message("a", 10, &["INBOX"]), message("b", 20, &[])]).await;
    let change = NewChange { kind: "message.added", subject_id: "a".into(), data: json!({"labels": ["Ä"]}) };
    let mut tx = scene.store.write().await.expect("a transaction");
    changes::append(&mut tx, scene.of(), &[change], at(1)).await.expect("appended");
    leases::claim(&mut tx, "w", at(0), at(90), Wanted::Due, 9).await.expect("claimed");
    assert_eq!(whole::leased(&mut tx, at(89)).await.expect("counted"), 1);
    assert_eq!(whole::leased(&mut tx, at(90)).await.expect("counted"), 0);
    processes::say(&mut tx, &process("a", "k1"), at(1)).await.expect("said");
    tx.commit().await.expect("committed");

    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("copy");
    let copy = Store::connect(&format!("sqlite:{}", file.display())).await.expect("a file");
    assert_eq!(whole::version(&copy).await.expect("asked"), None, "Intail never was there");
    copy.migrate(newest_version()).await.expect("migrated");
    assert_eq!(whole::version(&copy).await.expect("asked"), Some(newest_version()));
    let (mut from, mut to) = (scene.store.read().await.expect("read"), copy.write().await.expect("write"));
    let tables = whole::tables(&mut to).await.expect("the schema");
    assert!(tables.len() > 40, "{}", tables.len());
    assert_eq!(whole::used(&mut to, &tables).await.expect("counted"), None);
    assert!(whole::used_of_those_there(&scene.store, &tables).await.expect("counted").is_some());
    let none = Store::connect(&format!("sqlite:{}", directory.path().join("none").display())).await.expect("a file");
    assert_eq!(whole::used_of_those_there(&none, &tables).await.expect("counted"), None, "no table is there");
    none.close().await;
    assert!(whole::used(&mut from, &tables).await.expect("counted").is_some());
    whole::clear_seeds(&mut to).await.expect("cleared");
    let mut parts = Vec::new();
    for table in &tables {
        let page = whole::page(&mut from, table, None).await.expect("read");
        let beyond = whole::page(&mut from, table, page.last()).await.expect("read");
        assert_eq!(beyond.len(), 0, "{}", table.name);
        if page.len() > 1 {
            let rest = whole::page(&mut from, table, page.first()).await.expect("read");
            assert_eq!(rest.len(), page.len() - 1, "{}", table.name);
        }
        let rows = i64::try_from(page.len()).expect("few");
        whole::insert(&mut to, table, page).await.expect("added");
        assert_eq!(whole::count(&mut to, table).await.expect("counted"), rows, "{}", table.name);
        parts.push(whole::part(&mut to, table).await.expect("read"));
    }
    parts.sort_by(|left, right| left.name.cmp(&right.name));
    assert_eq!(whole::marked(&mut to).await.expect("read"), None, "not whole yet");
    whole::mark(&mut to, at(7), "intail", &parts).await.expect("marked");
    to.commit().await.expect("committed");
    copy.close().await;

    let read = Store::open_unchanged(&file).await.expect("it opens");
    let mut tx = read.read().await.expect("a transaction");
    let mark = whole::marked(&mut tx).await.expect("read").expect("whole");
    assert_eq!((mark.made_at, mark.made_by.as_str(), &mark.parts), (at(7), "intail", &parts));
    for table in &tables {
        let part = whole::part(&mut tx, table).await.expect("read");
        assert!(parts.contains(&part), "{part:?}");
    }
    drop(tx);
    read.close().await;

    // As if it had been restored here.
    let mut tx = scene.store.write().await.expect("a transaction");
    whole::moved(&mut tx).await.expect("moved");
    assert_eq!(processes::running(&mut tx, at(0), 9).await.expect("read"), []);
    sessions::open(&mut tx, "s", &scene.person.id, "f", at(0), at(99)).await.expect("opened");
    whole::restored(&mut tx, at(50)).await.expect("restored");
    assert_eq!(whole::leased(&mut tx, at(0)).await.expect("counted"), 0);
    let mailbox = mailboxes::by_person(&mut tx, &scene.person.id).await.expect("read").expect("there");
    assert_eq!((mailbox.due_at, mailbox.watch_due_at), (Some(at(50)), at(50)));
    let lease = leases::claim(&mut tx, "w", at(50), at(90), Wanted::Noticed, 9).await.expect("claimed").remove(0);
    assert!(lease.after_a_break, "the log of calls has a gap");
    assert!(sessions::by_token(&mut tx, "s", at(1)).await.expect("read").is_none(), "everybody signs in again");
    let last = changes::last_seq(&mut tx, &scene.organization).await.expect("read");
    assert!(last > 1_000_000_000, "{last}");
    for (seq, is_lost) in [(0, false), (1, false), (2, true), (last, true), (last + 1, false)] {
        let holds = feed_gaps::holds(&mut tx, &scene.organization, seq).await.expect("asked");
        assert_eq!(holds, is_lost, "{seq}");
    }
}

fn process(id: &str, seals_under: &str) -> Process {
    Process {
        id: id.into(),
        name: "sync".into(),
        holds: vec!["k1".into(), "k2".into()],
        seals_under: seals_under.into(),
    }
}

#[test]
fn every_sealed_column_is_sealed_again_when_the_key_changes() {
    let folder = harness::root().join("intail/migrations");
    let (mut columns, mut table) = (BTreeSet::new(), String::new());
    let mut files: Vec<_> = folder.read_dir().expect("migrations").flatten().map(|it| it.path()).collect();
    files.sort();
    for file in files {
        for line in std::fs::read_to_string(file).expect("text").lines() {
            let mut words = line.split_whitespace();
            let beginning = (words.next(), words.next(), words.next());
            if let (Some("CREATE" | "ALTER"), Some("TABLE"), Some(name)) = beginning {
                name.clone_into(&mut table);
            }
            let names = line.split(|it: char| !it.is_alphanumeric() && it != '_');
            let is_declared = line.contains(" TEXT");
            columns.extend(
                names.filter(|it| is_declared && it.ends_with("_sealed")).map(|it| (table.clone(), it.to_owned())),
            );
        }
    }
    assert!(columns.remove(&("key_proofs".to_owned(), "proof_sealed".to_owned())), "a key's proof is its own");
    let listed = PLACES.map(|it| (it.table.to_owned(), it.column.to_owned()));
    assert_eq!(columns, BTreeSet::from(listed));
}

async fn erasing_leaves_nothing_of_a_mailbox(scene: Scene) {
    put(&scene, &[message("a", 10, &["INBOX"])]).await;
    let mut tx = scene.store.write().await.expect("a transaction");
    let fill = Fill { message_id: "b".into(), thread_id: "t".into() };
    fills::add(&mut tx, &scene.organization, &scene.mailbox.id, &[fill]).await.expect("added");
    let change = NewChange { kind: "message.added", subject_id: "a".into(), data: json!({}) };
    changes::append(&mut tx, scene.of(), &[change], at(1)).await.expect("appended");
    leases::take_away(&mut tx, &StreamId::from(&scene.mailbox.id)).await.expect("taken");
    let mut rows = 0;
    loop {
        let some = erasure::some_of_mailbox(&mut tx, &scene.mailbox.id).await.expect("erased");
        let Some((_, count)) = some.first() else { break };
        rows += count;
    }
    assert_eq!(rows, 4, "message, its label, fill, change");
    let rest = erasure::mailbox(&mut tx, &scene.mailbox.id).await.expect("erased");
    assert_eq!(rest.iter().map(|(_, rows)| rows).sum::<u64>(), 1, "the mailbox: {rest:?}");
    assert_eq!(messages::count(&mut tx, &scene.mailbox.id).await.expect("counted"), 0);
    assert_eq!(fills::count(&mut tx, &scene.mailbox.id).await.expect("counted"), 0);
    assert!(changes::of_person(&mut tx, &scene.person.id, 0, 9).await.expect("read").is_empty());
    assert!(mailboxes::by_id(&mut tx, &scene.mailbox.id).await.expect("read").is_none());
}

async fn what_is_left_out_is_counted_and_looked_at_again_by_its_reason(scene: Scene) {
    let id = &scene.mailbox.id;
    let left_out = |message: &str, by_label, is_aside| Exclusion {
        message_id: message.into(),
        history_id: HistoryId(u64::MAX),
        by_label,
        is_aside,
    };
    let mut tx = scene.store.write().await.expect("a transaction");
    for it in [left_out("a", true, true), left_out("b", true, false), left_out("c", false, false)] {
        exclusions::put(&mut tx, &scene.organization, id, &it, 1).await.expect("put");
    }
    exclusions::put(&mut tx, &scene.organization, id, &left_out("b", true, true), 1).await.expect("put again");
    assert_eq!(exclusions::count(&mut tx, id).await.expect("counted"), Count { all: 3, by_label: 2, aside: 2 });
    exclusions::set_aside(&mut tx, id, "a", false).await.expect("set");
    let asked = ["a".to_owned(), "x".to_owned()];
    let found = exclusions::by_ids(&mut tx, id, &asked).await.expect("read");
    assert_eq!(found.into_values().collect::<Vec<_>>(), [left_out("a", true, false)]);
    assert_eq!(exclusions::page(&mut tx, id, false, 9).await.expect("read"), [left_out("c", false, false)]);
    assert_eq!(exclusions::page(&mut tx, id, true, 1).await.expect("read").len(), 1);
    exclusions::seen(&mut tx, id, &asked, 2).await.expect("marked");
    assert_eq!(exclusions::forget_unseen(&mut tx, id, 2).await.expect("forgotten"), 2);
    exclusions::put(&mut tx, &scene.organization, id, &left_out("c", false, false), 2).await.expect("put");
    assert_eq!(exclusions::forget_labelled(&mut tx, id).await.expect("forgotten"), 1);
    exclusions::forget(&mut tx, id, "c").await.expect("forgotten");
    assert_eq!(exclusions::count(&mut tx, id).await.expect("counted"), Count::default());
}

async fn a_subject_can_be_replaced_and_messages_walked_by_id(scene: Scene) {
    put(&scene, &[message("a", 30, &["INBOX"]), message("b", 20, &[]), message("c", 10, &[])]).await;
    let id = &scene.mailbox.id;
    let mut tx = scene.store.write().await.expect("a transaction");
    messages::set_subject(&mut tx, id, "b", "tag", SubjectForm::Hashed).await.expect("set");
    messages::set_subject(&mut tx, id, "c", "", SubjectForm::Dropped).await.expect("set");
    assert_eq!(messages::count_hidden(&mut tx, id).await.expect("counted"), (1, 1));
    let walked = messages::after_id(&mut tx, id, "a", 9).await.expect("read");
    let read: Vec<_> = walked.iter().map(|it| (it.id.as_str(), it.subject.as_str(), it.subject_form)).collect();
    assert_eq!(read, [("b", "tag", SubjectForm::Hashed), ("c", "", SubjectForm::Dropped)]);
    assert_eq!(messages::after_id(&mut tx, id, "", 2).await.expect("read").len(), 2);
}

async fn the_feed_forgets_the_labels_of_what_may_not_be_kept(scene: Scene) {
    let told = |kind, id: &str| NewChange { kind, subject_id: id.into(), data: json!({"labels": ["INBOX"]}) };
    let mut tx = scene.store.write().await.expect("a transaction");
    let all = [
        told("message.added", "a"),
        told("message.changed", "a"),
        told("label.added", "a"),
        told("message.added", "b"),
    ];
    changes::append(&mut tx, scene.of(), &all, at(1)).await.expect("appended");
    changes::hush(&mut tx, scene.of(), &["a".to_owned()]).await.expect("hushed");
    let feed = changes::of_person(&mut tx, &scene.person.id, 0, 9).await.expect("read");
    let told: Vec<bool> = feed.iter().map(|it| it.data.get("labels").is_some()).collect();
    assert_eq!(told, [false, false, true, true]);
}

async fn privacy_settings_are_kept_beside_how_far_they_are_applied(scene: Scene) {
    let (organization, person, mailbox) = (&scene.organization, &scene.person.id, &scene.mailbox.id);
    let policy = |label: &str| Policy { labels: [label.to_owned()].into(), ..Policy::default() };
    let mut tx = scene.store.write().await.expect("a transaction");
    assert_eq!(privacy::of_mailbox(&mut tx, mailbox).await.expect("read"), Settings::default());
    assert_eq!(privacy::floor(&mut tx, organization).await.expect("read"), Policy::default());
    assert_eq!(privacy::key(&mut tx, organization).await.expect("read"), None);
    for label in ["X", "Y"] {
        privacy::put_floor(&mut tx, organization, &policy(label), at(1)).await.expect("put");
        privacy::put_choice(&mut tx, organization, person, &policy(label), at(1)).await.expect("put");
        privacy::put_key(&mut tx, organization, label, at(1)).await.expect("put");
    }
    assert!(!privacy::ask_again(&mut tx, mailbox).await.expect("asked"), "nothing was loosened");
    let looser = Looser { labels: true, ..Looser::default() };
    let work = Work { applied: policy("Y"), target: None, place: "p".into(), looser, rereading: false };
    privacy::put_work(&mut tx, organization, mailbox, &Work { target: Some(policy("Z")), ..work.clone() })
        .await
        .expect("put");
    assert!(!privacy::ask_again(&mut tx, mailbox).await.expect("asked"), "first what is stricter");
    privacy::put_work(&mut tx, organization, mailbox, &work).await.expect("put");
    assert!(privacy::ask_again(&mut tx, mailbox).await.expect("asked"));
    assert!(!privacy::ask_again(&mut tx, mailbox).await.expect("asked"), "once is enough");
    let expected = Settings {
        floor: policy("Y"),
        own: policy("Y"),
        key_sealed: Some("X".into()),
        work: Work { place: String::new(), rereading: true, ..work },
        has_exclusions: false,
    };
    assert_eq!(privacy::of_mailbox(&mut tx, mailbox).await.expect("read"), expected);
    assert_eq!(privacy::floor(&mut tx, organization).await.expect("read"), policy("Y"));
    assert_eq!(privacy::choice(&mut tx, person).await.expect("read"), policy("Y"));
    assert_eq!(privacy::key(&mut tx, organization).await.expect("read").as_deref(), Some("X"), "the first stays");
    let applied = privacy::applied(&mut tx, organization, 100).await.expect("read");
    assert!(applied.contains(&(mailbox.clone(), expected.work.applied.clone())), "{applied:?}");
    assert_eq!(privacy::applied(&mut tx, organization, 1).await.expect("read").len(), 1);
    let (all, plain) = privacy::count_of_private_events(&mut tx, organization).await.expect("read");
    assert!((0..=all).contains(&plain), "{plain} of {all}");
    privacy::forget_choice(&mut tx, person).await.expect("forgotten");
    assert_eq!(privacy::choice(&mut tx, person).await.expect("read"), Policy::default());
}

async fn a_mailbox_is_due_without_a_notice_when_its_rules_change(scene: Scene) {
    let mut tx = scene.store.write().await.expect("a transaction");
    assert_eq!(mailboxes::due_of_person(&mut tx, &scene.person.id, at(7)).await.expect("due"), 1);
    let mailbox = mailboxes::by_id(&mut tx, &scene.mailbox.id).await.expect("read").expect("there");
    assert_eq!((mailbox.due_at, mailbox.notices), (Some(at(7)), 0));
    assert_eq!(mailboxes::due_of_organization(&mut tx, &scene.organization, at(9)).await.expect("due"), 1);
    let mailbox = mailboxes::by_id(&mut tx, &scene.mailbox.id).await.expect("read").expect("there");
    assert_eq!((mailbox.due_at, mailbox.notices), (Some(at(9)), 0));
}

async fn history_ids_up_to_the_last_are_kept(scene: Scene) {
    let last = Message { history_id: HistoryId(u64::MAX), ..message("a", i64::MAX, &[]) };
    put(&scene, std::slice::from_ref(&last)).await;
    let mut tx = scene.store.read().await.expect("a transaction");
    assert_eq!(messages::by_id(&mut tx, &scene.mailbox.id, "a").await.expect("read"), Some(last));
}
