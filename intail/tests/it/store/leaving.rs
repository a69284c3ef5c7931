//! The store's contract for what leaving and the log of calls stand on: chains, leavings, receipts, keys, erasure. And
//! that no table with somebody's rows in it is forgotten when they leave.

use std::collections::{BTreeMap, BTreeSet};

use intail::id::{GrantId, InvitationId, MailboxId, OrganizationId, PersonId, ReceiptId};
use intail::org::receipts::{self, Receipts, purpose};
use intail::store::grants::{self, Grant, Put};
use intail::store::invitations::{self, Invitation};
use intail::store::leaving_receipts::{self, LeavingReceipt};
use intail::store::leavings::{self, CallSums, Cause, Leaving, LeavingStep, Revocation};
use intail::store::people::Role;
use intail::store::receipts::{self as logs, START};
use intail::store::signing_keys::{self, SigningKey};
use intail::store::{Store, StoreError, Tx, access_keys, call_counts, erasure, organizations, people, sessions};
use intail_google::{CallHook as _, CallRecord};
use jiff::Timestamp;

use super::{Scene, at, grant, person};
use crate::harness;

on_both_databases!(
    a_chain_is_walked_from_its_start_to_its_end,
    two_processes_that_write_at_once_do_not_fork_a_chain,
    an_end_that_was_not_committed_is_not_believed,
    what_is_read_in_one_transaction_is_of_one_moment,
    a_sweep_beside_an_append_keeps_the_chain_s_end,
    old_calls_leave_a_checkpoint,
    a_log_begins_before_there_is_a_grant_and_goes_with_the_person,
    a_leaving_is_taken_up_by_one_at_a_time,
    receipts_of_leaving_are_found_by_those_whom_they_concern,
    the_first_signing_key_wins,
    whoever_is_being_removed_comes_in_no_more_and_is_no_administrator_who_stays,
    a_person_and_an_organization_go_with_everything_of_theirs,
);

fn call(grant: &GrantId, at: Timestamp) -> CallRecord {
    CallRecord {
        call: "gmail.messages.get",
        on_behalf: Some(grant.to_string()),
        purpose: purpose::BACKFILL,
        at,
        took_ms: 5,
        status: Some(200),
        bytes: 900,
        units: 20,
        outcome: "ok",
    }
}

async fn walked(store: &Store, grant: &GrantId) -> receipts::Chain {
    let mut tx = store.read().await.expect("a transaction");
    receipts::verify(&mut tx, grant).await.expect("read").expect("a chain")
}

async fn a_chain_is_walked_from_its_start_to_its_end(scene: Scene) {
    let (log, id) = (Receipts::default(), &scene.grant.id);
    let mut tx = scene.store.read().await.expect("a transaction");
    assert_eq!(receipts::verify(&mut tx, id).await.expect("read"), None, "nothing was written yet");
    assert_eq!(logs::head_of(&mut tx, id).await.expect("read"), None);
    drop(tx);
    for second in 0..3 {
        for _ in 0..450 {
            log.called(&call(id, at(second)));
        }
        log.called(&call(&GrantId::new(&scene.random), at(second)));
        log.write(&scene.store, at(second)).await.expect("written");
    }
    let chain = walked(&scene.store, id).await;
    assert_eq!((chain.batches, chain.calls, chain.gaps, chain.broken_at), (6, 1350, 0, None));
    assert_eq!((chain.last_batch, chain.checkpoint_batch, chain.checkpoint_hash.as_str()), (6, 0, START));

    let mut tx = scene.store.read().await.expect("a transaction");
    let sizes = logs::sizes_before(&mut tx, id, 4, 2).await.expect("read");
    assert_eq!(sizes, [(3, 400), (2, 50)]);
    let some = logs::after(&mut tx, id, 2, 1).await.expect("read");
    assert_eq!(receipts::read(&some[0]).expect("lines").len(), 400);
    let before = logs::after(&mut tx, id, 1, 1).await.expect("read").remove(0);
    assert_eq!(some[0].hash, receipts::hash(&before.hash, id, 3, &some[0].lines), "anybody can compute it");
    let oldest = logs::oldest(&mut tx, id, 1).await.expect("read").remove(0);
    assert_eq!((oldest.batch, oldest.began_at), (1, at(0)));
}

async fn two_processes_that_write_at_once_do_not_fork_a_chain(scene: Scene) {
    let id = &scene.grant.id;
    let process = async |store: &Store| {
        let log = Receipts::default();
        for second in 0..8 {
            log.called(&call(id, at(second)));
            log.write(store, at(second)).await.expect("written");
        }
    };
    futures::join!(process(&scene.store), process(&scene.store), process(&scene.store));
    let chain = walked(&scene.store, id).await;
    assert_eq!((chain.batches, chain.calls, chain.broken_at), (24, 24, None));
}

async fn an_end_that_was_not_committed_is_not_believed(scene: Scene) {
    let (log, id) = (Receipts::default(), &scene.grant.id);
    log.called(&call(id, at(0)));
    log.write(&scene.store, at(0)).await.expect("written");
    log.called(&call(id, at(1)));
    let taken = log.take(id);
    let mut tx = scene.store.write().await.expect("a transaction");
    taken.put(&mut tx, &scene.organization, at(1)).await.expect("put");
    drop((tx, taken));
    // What wasn't written waits still, and the chain ends where it did.
    log.called(&call(id, at(2)));
    log.write(&scene.store, at(2)).await.expect("written");
    let chain = walked(&scene.store, id).await;
    assert_eq!((chain.batches, chain.calls, chain.broken_at), (2, 3, None));

    let mut tx = scene.store.write().await.expect("a transaction");
    let head = logs::head_of(&mut tx, id).await.expect("read").expect("a head");
    let last = logs::after(&mut tx, id, 1, 1).await.expect("read").remove(0);
    let next = logs::Batch { batch: 3, ..last };
    let extended = logs::extend(&mut tx, &scene.organization, id, START, &next).await.expect("asked");
    assert_eq!(extended, None, "another hash");
    let far = logs::Batch { batch: 4, ..next.clone() };
    let extended = logs::extend(&mut tx, &scene.organization, id, &head.hash, &far).await.expect("asked");
    assert_eq!(extended, None, "a number is left out");
    let extended = logs::extend(&mut tx, &scene.organization, id, &head.hash, &next).await.expect("asked");
    let extended = extended.expect("the end is known");
    assert_eq!((extended.batch, extended.checkpoint_batch), (3, head.checkpoint_batch));
    assert_eq!(extended.kept_bytes, head.kept_bytes + logs::oldest(&mut tx, id, 9).await.expect("read")[2].bytes);
}

async fn what_is_read_in_one_transaction_is_of_one_moment(scene: Scene) {
    let (log, id) = (Receipts::default(), &scene.grant.id);
    let written = async |second| {
        log.called(&call(id, at(second)));
        log.write(&scene.store, at(second)).await.expect("written");
    };
    written(1).await;
    let mut tx = scene.store.read().await.expect("a transaction");
    let head = logs::head_of(&mut tx, id).await.expect("read").expect("a head");
    // Somebody appends between two readings of whoever walks the chain.
    written(2).await;
    let last = logs::after(&mut tx, id, 0, 9).await.expect("read").pop().expect("a batch");
    assert_eq!((last.batch, last.hash), (head.batch, head.hash));
    drop(tx);
    let chain = walked(&scene.store, id).await;
    assert_eq!((chain.batches, chain.broken_at), (2, None));
}

async fn a_sweep_beside_an_append_keeps_the_chain_s_end(scene: Scene) {
    let (log, id, day) = (Receipts::default(), &scene.grant.id, 24 * 3600);
    log.called(&call(id, at(0)));
    log.write(&scene.store, at(0)).await.expect("written");

    // Whoever read the end before somebody appended can't put it back.
    let mut tx = scene.store.read().await.expect("a transaction");
    let stale = logs::head_of(&mut tx, id).await.expect("read").expect("a head");
    let old = logs::oldest(&mut tx, id, 1).await.expect("read").remove(0);
    drop(tx);
    log.called(&call(id, at(1)));
    log.write(&scene.store, at(1)).await.expect("written");
    let mut tx = scene.store.write().await.expect("a transaction");
    let dropped = logs::drop_until(&mut tx, id, &stale, &old, old.bytes).await;
    assert!(matches!(dropped, Err(StoreError::LeaseLost)), "{dropped:?}");
    drop(tx);
    assert_eq!(walked(&scene.store, id).await.last_batch, 2);

    let appending = async {
        for second in 2..30 {
            log.called(&call(id, at(second)));
            log.write(&scene.store, at(second)).await.expect("written");
        }
    };
    let sweeping = async {
        for _ in 2..30 {
            receipts::sweep(&scene.store, at(150 * day)).await.expect("swept");
        }
    };
    futures::join!(appending, sweeping);
    let chain = walked(&scene.store, id).await;
    assert_eq!((chain.last_batch, chain.broken_at), (30, None), "{chain:?}");
    let mut tx = scene.store.write().await.expect("a transaction");
    let head = logs::head_of(&mut tx, id).await.expect("read").expect("a head");
    assert_eq!(logs::hold_head(&mut tx, id).await.expect("held"), Some(head));
    assert_eq!(logs::hold_head(&mut tx, &GrantId::new(&scene.random)).await.expect("none"), None);
}

async fn old_calls_leave_a_checkpoint(scene: Scene) {
    let (log, id) = (Receipts::default(), &scene.grant.id);
    let day = 24 * 3600;
    for (of_day, batches) in [(0, 1), (50, 2), (100, 2)] {
        log.called(&call(id, at(of_day * day)));
        log.write(&scene.store, at(of_day * day)).await.expect("written");
        let chain = walked(&scene.store, id).await;
        assert_eq!((chain.batches, chain.broken_at), (batches, None), "day {of_day}");
    }
    assert_eq!(walked(&scene.store, id).await.checkpoint_batch, 1);

    let mut tx = scene.store.read().await.expect("a transaction");
    let old = logs::older_than(&mut tx, at(60 * day), 9).await.expect("read");
    assert_eq!(old, [(id.clone(), scene.organization.clone())]);
    drop(tx);
    receipts::sweep(&scene.store, at(150 * day)).await.expect("swept");
    let sums = async || {
        let mut tx = scene.store.read().await.expect("a transaction");
        call_counts::of_grant(&mut tx, id, 99).await.expect("read").len()
    };
    assert_eq!(sums().await, 3, "sums are kept for longer");
    let chain = walked(&scene.store, id).await;
    assert_eq!((chain.batches, chain.checkpoint_batch, chain.broken_at), (1, 2, None));
    receipts::sweep(&scene.store, at(300 * day)).await.expect("swept");
    let chain = walked(&scene.store, id).await;
    assert_eq!((chain.batches, chain.last_batch, chain.checkpoint_batch, chain.broken_at), (0, 3, 3, None));

    // However many there are.
    for second in 0..120 {
        log.called(&call(id, at(300 * day + second)));
        log.write(&scene.store, at(300 * day + second)).await.expect("written");
    }
    receipts::sweep(&scene.store, at(400 * day)).await.expect("swept");
    let chain = walked(&scene.store, id).await;
    assert_eq!((chain.batches, chain.last_batch, chain.checkpoint_batch, chain.broken_at), (0, 123, 123, None));

    receipts::sweep(&scene.store, at(500 * day)).await.expect("swept");
    assert_eq!(sums().await, 2, "also of a grant for which nothing is written any more, and of which no call is left");

    // By size: the oldest go, and what is left takes up no more than it may.
    for second in 0..60_i64 {
        for _ in 0..1_000 {
            log.called(&call(id, at(400 * day + second)));
        }
        log.write(&scene.store, at(400 * day + second)).await.expect("written");
    }
    let chain = walked(&scene.store, id).await;
    let mut tx = scene.store.write().await.expect("a transaction");
    let head = logs::head_of(&mut tx, id).await.expect("read").expect("a head");
    assert!(head.kept_bytes <= receipts::KEPT_BYTES_MAX && chain.calls > 30_000, "{head:?} {chain:?}");
    assert_eq!(chain.broken_at, None);
    let held = logs::oldest(&mut tx, id, i64::MAX).await.expect("read").iter().map(|it| it.bytes).sum::<i64>();
    assert_eq!(held, head.kept_bytes, "the sum is kept right");

    let taken = logs::take_head(&mut tx, &scene.organization, id).await.expect("taken");
    assert_eq!((taken.batch, &taken.hash), (head.batch + 1, &head.hash));
    let last = logs::after(&mut tx, id, head.batch - 1, 1).await.expect("read").remove(0);
    let next = logs::Batch { batch: taken.batch, ..last };
    let head = logs::append(&mut tx, &scene.organization, id, &taken, &next).await.expect("appended");
    let all = logs::oldest(&mut tx, id, i64::MAX).await.expect("read");
    let end = all.last().expect("some");
    let head = logs::drop_until(&mut tx, id, &head, end, head.kept_bytes).await.expect("dropped");
    assert_eq!((head.kept_bytes, head.oldest_at, head.checkpoint_batch), (0, None, taken.batch));
}

fn leaving(scene: &Scene, due_at: Timestamp) -> Leaving {
    Leaving {
        id: ReceiptId::new(&scene.random),
        organization_id: scene.organization.clone(),
        person_id: Some(scene.person.id.clone()),
        grant_id: Some(scene.grant.id.clone()),
        cause: Cause::Person,
        removes_person: false,
        step: LeavingStep::Stop,
        is_stopped: false,
        revocation: Revocation::Open,
        refresh_sealed: None,
        subject_sealed: None,
        erased: BTreeMap::new(),
        calls: CallSums::default(),
        begun_at: at(1),
        erased_at: None,
        tries: 0,
        due_at,
        claim: 0,
    }
}

async fn a_leaving_is_taken_up_by_one_at_a_time(scene: Scene) {
    let begun = leaving(&scene, at(10));
    let mut tx = scene.store.write().await.expect("a transaction");
    leavings::create(&mut tx, &begun).await.expect("created");
    assert_eq!(leavings::by_id(&mut tx, &begun.id).await.expect("read"), Some(begun.clone()));
    assert_eq!(leavings::due(&mut tx, at(9), 9).await.expect("read"), []);
    assert_eq!(leavings::due(&mut tx, at(10), 9).await.expect("read"), std::slice::from_ref(&begun.id));
    let one = leavings::claim(&mut tx, &begun.id, at(10), at(20)).await.expect("claimed").expect("due");
    assert_eq!(leavings::claim(&mut tx, &begun.id, at(11), at(21)).await.expect("claimed"), None, "one works on it");
    let other = leavings::claim(&mut tx, &begun.id, at(20), at(30)).await.expect("claimed").expect("due again");
    assert!(matches!(leavings::save(&mut tx, &one).await, Err(StoreError::LeaseLost)));
    assert!(matches!(leavings::finish(&mut tx, &one).await, Err(StoreError::LeaseLost)));

    leavings::remove_person_too(&mut tx, &begun.id).await.expect("written");
    let done = Leaving {
        step: LeavingStep::RevokeLater,
        is_stopped: true,
        erased: BTreeMap::from([("messages".to_owned(), 7)]),
        calls: CallSums { calls: 3, last_hash: "h".into(), ..CallSums::default() },
        erased_at: Some(at(21)),
        refresh_sealed: Some("k1.sealed".into()),
        subject_sealed: Some("k1.subject".into()),
        ..other
    };
    assert!(leavings::unfinished_of_person(&mut tx, &scene.person.id).await.expect("read").is_some());
    let listed = async |tx: &mut Tx| {
        people::one(tx, &scene.organization, &scene.person.id, at(30)).await.expect("read").expect("there")
    };
    let now = listed(&mut tx).await;
    assert_eq!((now.standing.as_str(), now.since), ("leaving", Some(at(1))), "lists say so, and since when");
    let counts = people::count_by_standing(&mut tx, &scene.organization, at(30)).await.expect("counted");
    assert_eq!(counts, [("leaving".to_owned(), 1)]);
    let waiting = leavings::without_receipt(&mut tx, &scene.organization, 9).await.expect("read");
    assert_eq!(waiting, std::slice::from_ref(&begun.id));
    assert_eq!(leavings::revocations_open(&mut tx, &scene.organization).await.expect("counted"), 0);
    leavings::save(&mut tx, &done).await.expect("saved");
    assert_eq!(leavings::revocations_open(&mut tx, &scene.organization).await.expect("counted"), 1);
    let read = leavings::by_id(&mut tx, &begun.id).await.expect("read");
    assert_eq!(read, Some(Leaving { removes_person: true, ..done.clone() }), "what others wrote meanwhile stays");
    assert_eq!(leavings::unfinished_of_person(&mut tx, &scene.person.id).await.expect("read"), None);
    assert_ne!(listed(&mut tx).await.standing, "leaving", "only a token is still to be given back");
    assert_eq!(leavings::of_organization(&mut tx, &scene.organization).await.expect("read"), None);
    let whole = Leaving {
        id: ReceiptId::new(&scene.random),
        person_id: None,
        grant_id: None,
        step: LeavingStep::People,
        ..begun
    };
    leavings::create(&mut tx, &whole).await.expect("created");
    assert_eq!(leavings::of_organization(&mut tx, &scene.organization).await.expect("read"), Some(whole));
    leavings::finish(&mut tx, &done).await.expect("finished");
    assert_eq!(leavings::by_id(&mut tx, &done.id).await.expect("read"), None);
}

async fn receipts_of_leaving_are_found_by_those_whom_they_concern(scene: Scene) {
    let receipt = |second| LeavingReceipt {
        id: ReceiptId::new(&scene.random),
        organization_id: scene.organization.clone(),
        person_id: Some(scene.person.id.clone()),
        issued_at: at(second),
        statement: "{}".into(),
        key_id: "k".into(),
        signature: "s".into(),
    };
    let (old, new) = (receipt(1), receipt(2));
    let mut tx = scene.store.write().await.expect("a transaction");
    for it in [&old, &new, &LeavingReceipt { statement: "{\"a\":1}".into(), ..new.clone() }] {
        leaving_receipts::put(&mut tx, it).await.expect("put");
    }
    let read = leaving_receipts::by_id(&mut tx, &new.id).await.expect("read").expect("there");
    assert_eq!(read.statement, "{\"a\":1}", "issued anew");
    let ids = |found: Vec<LeavingReceipt>| found.into_iter().map(|it| it.id).collect::<Vec<_>>();
    let newest = [new.id.clone(), old.id.clone()];
    assert_eq!(ids(leaving_receipts::of_person(&mut tx, &scene.person.id, 9).await.expect("read")), newest);
    assert_eq!(ids(leaving_receipts::of_organization(&mut tx, &scene.organization, 9).await.expect("read")), newest);
    let first = leaving_receipts::page(&mut tx, &scene.organization, None, 1).await.expect("read").remove(0).id;
    let rest = leaving_receipts::page(&mut tx, &scene.organization, Some(&first), 9).await.expect("read");
    assert_eq!(rest.len(), 1);
    let other = OrganizationId::new(&scene.random);
    assert_eq!(ids(leaving_receipts::of_organization(&mut tx, &other, 9).await.expect("read")), []);
    assert_eq!(leaving_receipts::sweep(&mut tx, at(2)).await.expect("swept"), 1);
}

async fn the_first_signing_key_wins(scene: Scene) {
    let key = |public_key: &str| SigningKey {
        id: "one".into(),
        public_key: public_key.into(),
        secret_sealed: "k1.sealed".into(),
    };
    let mut tx = scene.store.write().await.expect("a transaction");
    signing_keys::add(&mut tx, &key("first"), at(1)).await.expect("added");
    signing_keys::add(&mut tx, &key("second"), at(2)).await.expect("the first stays");
    assert_eq!(signing_keys::list(&mut tx, 9).await.expect("read"), [key("first")]);
}

async fn whoever_is_being_removed_comes_in_no_more_and_is_no_administrator_who_stays(scene: Scene) {
    let (person, organization) = (&scene.person.id, &scene.organization);
    let mut tx = scene.store.write().await.expect("a transaction");
    people::set_role(&mut tx, person, Role::Administrator).await.expect("written");
    sessions::open(&mut tx, "s", person, "f", at(0), at(99)).await.expect("opened");
    access_keys::create(&mut tx, "k", person, "key", None, at(0)).await.expect("created");
    let begun = leaving(&scene, at(10));
    leavings::create(&mut tx, &begun).await.expect("created");
    assert_eq!(people::administrators(&mut tx, organization).await.expect("counted"), 1, "only disconnected");
    leavings::remove_person_too(&mut tx, &begun.id).await.expect("written");
    assert_eq!(people::administrators(&mut tx, organization).await.expect("counted"), 0);
    let ended: BTreeMap<_, _> = erasure::ways_in(&mut tx, person).await.expect("ended").into_iter().collect();
    assert_eq!((ended["signed-in browsers"], ended["access keys"], ended["links to sign in"]), (1, 1, 0));
    assert!(sessions::by_token(&mut tx, "s", at(1)).await.expect("read").is_none());
    assert!(access_keys::person_of(&mut tx, "k").await.expect("read").is_none());
}

async fn a_log_begins_before_there_is_a_grant_and_goes_with_the_person(scene: Scene) {
    let (log, newcomer) = (Receipts::default(), person(&scene.random, &scene.organization, "2"));
    let (id, later) = (GrantId::new(&scene.random), GrantId::new(&scene.random));
    let mut tx = scene.store.write().await.expect("a transaction");
    assert_eq!(logs::open(&mut tx, &newcomer.id, &id).await.expect("read"), None, "of nobody");
    people::create(&mut tx, &newcomer, at(0)).await.expect("created");
    assert_eq!(logs::of_person(&mut tx, &newcomer.id).await.expect("read"), None);
    assert_eq!(logs::open(&mut tx, &newcomer.id, &id).await.expect("opened").as_ref(), Some(&id));
    assert_eq!(logs::open(&mut tx, &newcomer.id, &later).await.expect("open").as_ref(), Some(&id), "once");
    tx.commit().await.expect("committed");
    log.called(&call(&id, at(1)));
    log.called(&call(&later, at(1)));
    log.write(&scene.store, at(1)).await.expect("written");
    assert_eq!(walked(&scene.store, &id).await.calls, 1, "there is no grant yet");

    let mut tx = scene.store.write().await.expect("a transaction");
    assert_eq!(logs::of_person(&mut tx, &newcomer.id).await.expect("read").as_ref(), Some(&id));
    assert_eq!(logs::organization_of(&mut tx, &id).await.expect("read"), Some(scene.organization.clone()));
    assert_eq!(logs::organization_of(&mut tx, &later).await.expect("read"), None);
    let other = grant(&scene.random, &newcomer, "g2");
    assert_eq!(grants::put(&mut tx, &other).await.expect("read"), Put::Over, "the log has another id");
    let first = Grant { id: id.clone(), ..other };
    assert_eq!(grants::put(&mut tx, &first).await.expect("put"), Put::Kept);
    let again = Grant { email: "moved@example.com".into(), ..first.clone() };
    assert_eq!(grants::put(&mut tx, &again).await.expect("put"), Put::Kept, "a reconnect");
    let another = Grant { google_subject: "another".into(), email: "another@example.com".into(), ..first.clone() };
    assert_eq!(grants::put(&mut tx, &another).await.expect("read"), Put::AnotherAccount);
    let kept = grants::by_id(&mut tx, &id).await.expect("read").expect("there");
    assert_eq!((kept.google_subject, kept.email), (first.google_subject, again.email), "nothing of it was written");
    erasure::grant(&mut tx, &id).await.expect("erased");
    assert_eq!(logs::of_person(&mut tx, &newcomer.id).await.expect("read"), None, "it went with the grant");

    logs::open(&mut tx, &newcomer.id, &later).await.expect("opened");
    tx.commit().await.expect("committed");
    log.called(&call(&later, at(2)));
    log.write(&scene.store, at(2)).await.expect("written");
    let mut tx = scene.store.write().await.expect("a transaction");
    let gone: BTreeMap<_, _> = erasure::person(&mut tx, &newcomer.id).await.expect("erased").into_iter().collect();
    let of_log = ["ends of call logs", "call logs", "call counts", "logs of calls", "people"].map(|it| gone[it]);
    assert_eq!(of_log, [1; 5], "{gone:?}");
}

async fn a_person_and_an_organization_go_with_everything_of_theirs(scene: Scene) {
    let other = person(&scene.random, &scene.organization, "2");
    let log = Receipts::default();
    log.called(&call(&scene.grant.id, at(1)));
    log.write(&scene.store, at(1)).await.expect("written");
    let mut tx = scene.store.write().await.expect("a transaction");
    people::create(&mut tx, &other, at(0)).await.expect("created");
    grants::put(&mut tx, &grant(&scene.random, &other, "g2")).await.expect("put");
    organizations::add_domain(&mut tx, &scene.organization, "example.com").await.expect("added");
    sessions::open(&mut tx, "s", &scene.person.id, "f", at(0), at(99)).await.expect("opened");
    access_keys::create(&mut tx, "k", &scene.person.id, "key", None, at(0)).await.expect("created");
    erasure::mailbox(&mut tx, &scene.mailbox.id).await.expect("erased");
    let of_grant: BTreeMap<_, _> =
        erasure::grant(&mut tx, &scene.grant.id).await.expect("erased").into_iter().collect();
    assert_eq!(of_grant.values().sum::<u64>(), 5, "chain's end, batch, count, log, grant: {of_grant:?}");
    // Whoever was invited in another spelling of their address is the same.
    people::set_email(&mut tx, &scene.person, "ÜNAL@Example.com").await.expect("set");
    let invitation = Invitation {
        id: InvitationId::new(&scene.random),
        organization_id: scene.organization.clone(),
        email: "ünal@example.com".into(),
        role: Role::Member,
        invited_by: "operator".into(),
        created_at: at(0),
        expires_at: at(99),
    };
    invitations::put(&mut tx, &invitation).await.expect("put");
    let of_person: BTreeMap<_, _> =
        erasure::person(&mut tx, &scene.person.id).await.expect("erased").into_iter().collect();
    assert_eq!((of_person["signed-in browsers"], of_person["access keys"], of_person["people"]), (1, 1, 1));
    assert_eq!(of_person["invitations"], 1);
    assert!(people::by_id(&mut tx, &other.id).await.expect("read").is_some(), "others stay");

    let grant = grants::by_person(&mut tx, &other.id).await.expect("read").expect("theirs");
    erasure::grant(&mut tx, &grant.id).await.expect("erased");
    erasure::person(&mut tx, &other.id).await.expect("erased");
    assert_eq!(organizations::drop_domains(&mut tx, &scene.organization).await.expect("dropped"), 1);
    erasure::organization(&mut tx, &scene.organization).await.expect("erased");
    assert!(organizations::by_id(&mut tx, &scene.organization).await.expect("read").is_none());
    tx.commit().await.expect("committed");
    assert!(scene.store.scrub().await.expect("scrubbed"), "nobody reads");
    let (unknown, nobody) = (MailboxId::new(&scene.random), PersonId::new(&scene.random));
    let mut tx = scene.store.write().await.expect("a transaction");
    assert!(erasure::some_of_mailbox(&mut tx, &unknown).await.expect("nothing").is_empty());
    assert!(erasure::person(&mut tx, &nobody).await.expect("nothing").iter().all(|(_, rows)| *rows == 0));
}

/// Tables that keep an id of somebody who left, and why.
const STAY: &[(&str, &str)] = &[
    ("leavings", "the erasure itself: ids and counts until it is done"),
    ("leaving_receipts", "what is proved of it: ids and counts"),
];

/// Columns in which a table says whose its rows are.
const OWNERS: &[&str] = &["mailbox_id", "agenda_id", "grant_id", "person_id", "organization_id", "email"];

#[test]
fn no_table_with_somebodys_rows_is_forgotten_when_they_leave() {
    let root = harness::root().join("intail");
    let erasure = std::fs::read_to_string(root.join("src/store/erasure.rs")).expect("the list");
    let mut tables = BTreeSet::new();
    for file in root.join("migrations").read_dir().expect("the schema") {
        let text = std::fs::read_to_string(file.expect("a file").path()).expect("a migration");
        for table in text.split("CREATE TABLE ").skip(1) {
            let (name, rest) = table.split_once(" (").expect("a name");
            let columns = rest.split_once("\n);").expect("columns").0;
            let owned =
                columns.lines().any(|line| OWNERS.contains(&line.split_whitespace().next().unwrap_or_default()));
            if owned {
                tables.insert(name.to_owned());
            }
        }
    }
    assert!(tables.len() > 15, "{tables:?}");
    let forgotten: Vec<&String> = tables
        .iter()
        .filter(|name| !erasure.contains(&format!("DELETE FROM {name} ")))
        .filter(|name| STAY.iter().all(|(known, _)| known != name))
        .collect();
    assert!(forgotten.is_empty(), "these are neither erased in store/erasure.rs nor named in STAY: {forgotten:?}");
}
