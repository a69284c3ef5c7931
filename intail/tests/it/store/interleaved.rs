//! Transactions of two processes that touch the same rows at once, on PostgreSQL: there a transaction doesn't wait for
//! its turn as on SQLite, and each statement sees what others committed since the one before.

use intail::id::{GrantId, MailboxId, OrganizationId};
use intail::store::grants::{self, Grant, GrantState};
use intail::store::leases::{self, Wanted};
use intail::store::mailboxes::{self, Mailbox};
use intail::store::spending::Spending;
use intail::store::{Store, people};
use sqlx::{Connection as _, PgConnection};

use super::{Scene, at, grant, person};
use crate::harness;
use crate::harness::postgres::until_so_many_wait;

/// A scene on PostgreSQL, and a connection beside the store's that sees who waits.
async fn on_postgres() -> (Scene, PgConnection) {
    let url = harness::postgres::database().await;
    let watching = PgConnection::connect(&url).await.expect("the cluster of cargo xtask answers");
    (Scene::new(&url).await, watching)
}

/// A colleague with a grant and a mailbox, at this address.
async fn colleague(scene: &Scene, number: &str, email: &str) -> (Grant, MailboxId) {
    let person = person(&scene.random, &scene.organization, number);
    let grant = Grant { email: email.into(), ..grant(&scene.random, &person, &format!("g{number}")) };
    let mailbox = Mailbox::new(MailboxId::new(&scene.random), &grant, at(0));
    let mut tx = scene.store.write().await.expect("a transaction");
    people::create(&mut tx, &person, at(0)).await.expect("created");
    grants::put(&mut tx, &grant).await.expect("put");
    mailboxes::create(&mut tx, &mailbox).await.expect("created");
    tx.commit().await.expect("committed");
    (grant, mailbox.id)
}

async fn set_state(store: &Store, grant: &GrantId, state: GrantState) {
    let mut tx = store.write().await.expect("a transaction");
    grants::set_state(&mut tx, grant, state, "client_refused", at(1)).await.expect("set");
    tx.commit().await.expect("committed");
}

async fn reopen(store: &Store, organization: &OrganizationId) -> u64 {
    let mut tx = store.write().await.expect("a transaction");
    let reopened = grants::reopen(&mut tx, organization, GrantState::NeedsOperator, &[], at(9)).await.expect("ran");
    tx.commit().await.expect("committed");
    reopened
}

/// Two deployments at once: while the one reopens grants, workers of the other close some more.
#[tokio::test]
async fn a_grant_that_is_closed_while_others_are_reopened_is_woken_or_stays_closed() {
    let (scene, mut watching) = on_postgres().await;
    let (late, of_late) = colleague(&scene, "2", "late@example.com").await;
    set_state(&scene.store, &scene.grant.id, GrantState::NeedsOperator).await;
    let mut tx = scene.store.write().await.expect("a transaction");
    let claimed = leases::claim(&mut tx, "w", at(1), at(60), Wanted::Due, 9).await.expect("claimed");
    for lease in &claimed {
        leases::release(&mut tx, lease, None, Some(&Spending::default()), at(2)).await.expect("released");
    }
    tx.commit().await.expect("committed");

    let mut holding = scene.store.write().await.expect("a transaction");
    mailboxes::due_of_person(&mut holding, &scene.person.id, at(3)).await.expect("held");
    let closing = async {
        until_so_many_wait(&mut watching, 1).await;
        set_state(&scene.store, &late.id, GrantState::NeedsOperator).await;
        holding.commit().await.expect("committed");
    };
    let (reopened, ()) = futures::join!(reopen(&scene.store, &scene.organization), closing);

    let mut tx = scene.store.read().await.expect("a transaction");
    for (grant, mailbox) in [(&scene.grant.id, &scene.mailbox.id), (&late.id, &of_late)] {
        let grant = grants::by_id(&mut tx, grant).await.expect("read").expect("there");
        let due = mailboxes::by_id(&mut tx, mailbox).await.expect("read").expect("there").due_at;
        assert_eq!(grant.state.works(), due.is_some(), "{:?} sleeps while its grant works: {due:?}", grant.email);
    }
    assert_eq!(reopened, 1);
}

/// A claim never waits for a row that somebody marks: it takes what is free.
#[tokio::test]
async fn a_claim_takes_what_nobody_holds() {
    let (scene, _watching) = on_postgres().await;
    let (_, other) = colleague(&scene, "2", "other@example.com").await;
    let mut marking = scene.store.write().await.expect("a transaction");
    mailboxes::notice(&mut marking, &[(&scene.mailbox.email, None)], at(5)).await.expect("noticed");
    let claim = async || {
        let mut tx = scene.store.write().await.expect("a transaction");
        let claimed = leases::claim(&mut tx, "w", at(9), at(60), Wanted::Due, 9).await.expect("claimed");
        tx.commit().await.expect("committed");
        claimed.into_iter().map(|it| it.stream).collect::<Vec<_>>()
    };
    assert_eq!(claim().await, [(&other).into()]);
    marking.commit().await.expect("committed");
    assert_eq!(claim().await, [(&scene.mailbox.id).into()]);
}

/// Whoever marks many mailboxes takes them in the order of their ids, whatever the addresses say: so do all, and
/// nobody waits in a circle.
#[tokio::test]
async fn mailboxes_are_marked_in_one_order() {
    let (scene, mut watching) = on_postgres().await;
    let mut ids = vec![scene.mailbox.id.clone()];
    for number in ["2", "3"] {
        ids.push(colleague(&scene, number, &format!("person{number}@example.com")).await.1);
    }
    ids.sort();
    let mut tx = scene.store.write().await.expect("a transaction");
    // The later the id, the earlier the address.
    for (id, email) in ids.iter().zip(["c@example.com", "b@example.com", "a@example.com"]) {
        mailboxes::set_email(&mut tx, id, email).await.expect("set");
    }
    tx.commit().await.expect("committed");
    for everybody in [false, true] {
        let mut holding = scene.store.write().await.expect("a transaction");
        mailboxes::wake(&mut holding, &ids[0], at(5)).await.expect("held");
        let mark = async {
            let mut tx = scene.store.write().await.expect("a transaction");
            let marked = match everybody {
                true => mailboxes::wake_all(&mut tx, at(6)).await,
                false => {
                    let emails = ["a@example.com", "b@example.com", "c@example.com", "d@example.com"];
                    let told = emails.map(|it| (it, None));
                    let noticed = mailboxes::notice(&mut tx, &told, at(6)).await.expect("noticed");
                    assert_eq!(noticed.unknown, 1);
                    Ok(noticed.mailboxes)
                }
            };
            tx.commit().await.expect("committed");
            marked.expect("marked")
        };
        let go_on = async {
            until_so_many_wait(&mut watching, 1).await;
            for id in &ids[1..] {
                mailboxes::wake(&mut holding, id, at(5)).await.expect("nobody holds it who waits for the first");
            }
            holding.commit().await.expect("committed");
        };
        let (marked, ()) = futures::join!(mark, go_on);
        assert_eq!(marked, 3);
    }
    let mut tx = scene.store.read().await.expect("a transaction");
    for id in &ids {
        let notices = mailboxes::by_id(&mut tx, id).await.expect("read").expect("there").notices;
        assert_eq!(notices, 4, "twice by each of the two");
    }
}
