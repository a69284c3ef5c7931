//! The store's contract for the directory: its row under a lease, the people and every address that leads to them,
//! which grants read, who is overdue, and that one organization's never shows in another's.

use std::collections::BTreeMap;

use intail::id::{DirectoryId, OrganizationId};
use intail::org::identities::{self, Identity};
use intail::store::directories::{self, Part};
use intail::store::directory_people::{self, DirectoryCount, DirectoryPerson, Overdue, View};
use intail::store::directory_readers::{self, Ability};
use intail::store::grants::{self, GrantState};
use intail::store::leases::{self, Wanted};
use intail::store::messages;
use intail::store::organizations;
use intail::store::people::{self, Role};
use intail::store::{StoreError, Tx, erasure, mailboxes};

use super::{Scene, at, grant, message, person};
use crate::harness;

on_both_databases!(
    a_directory_is_one_per_organization_and_written_under_its_lease,
    people_are_found_by_any_of_their_addresses,
    people_are_searched_by_every_word_in_order_of_name,
    a_search_minds_no_accents_and_begins_with_whose_name_begins_so,
    who_stands_at_the_top_and_how_many_are_below,
    whom_a_pass_missed_is_told_apart_from_whom_it_saw,
    the_grant_that_sees_most_comes_first,
    who_never_came_is_whom_neither_a_sign_in_nor_a_connection_knows,
    who_was_deleted_long_enough_ago_is_overdue,
    a_suspended_grant_says_since_when_and_connecting_again_ends_it,
    mail_with_somebody_is_found_among_the_newest,
);

fn someone(id: &str, name: &str) -> DirectoryPerson {
    DirectoryPerson {
        google_id: id.into(),
        address: format!("{id}@example.com"),
        name: name.into(),
        given_name: String::new(),
        family_name: String::new(),
        title: "Head of Tea".into(),
        department: String::new(),
        manager_address: "boss@example.com".into(),
        phones: vec!["+49 30 1".into()],
        aliases: vec![format!("alias-{id}@example.org")],
        photo_url: String::new(),
        is_listed: true,
        suspended: None,
        archived: Some(false),
        is_administrator: Some(true),
        view: View::Public,
        etag: "e".into(),
        pass: 1,
        misses: 0,
        added_at: at(1),
        seen_at: at(1),
        deleted_at: None,
        gone_at: None,
    }
}

async fn a_directory_is_one_per_organization_and_written_under_its_lease(scene: Scene) {
    let (first, second) = (DirectoryId::new(&scene.random), DirectoryId::new(&scene.random));
    let mut tx = scene.store.write().await.expect("a transaction");
    assert_eq!(directories::of_organization(&mut tx, &scene.organization).await.expect("read"), None);
    directories::wake(&mut tx, &first, &scene.organization, at(1)).await.expect("made");
    directories::wake(&mut tx, &second, &scene.organization, at(2)).await.expect("the same");
    let found = directories::of_organization(&mut tx, &scene.organization).await.expect("read").expect("one");
    assert_eq!((found.id, found.due_at, found.pass), (first.clone(), Some(at(2)), 0));
    directories::want(&mut tx, &scene.organization, at(2)).await.expect("nobody would see more");
    tx.commit().await.expect("committed");
    let mut tx = scene.store.write().await.expect("a transaction");
    let claimed = leases::claim(&mut tx, "me", at(3), at(90), Wanted::Due, 9).await.expect("claimed");
    let lease = claimed.into_iter().find(|it| it.stream == (&first).into()).expect("the directory");
    let mut directory = directories::hold(&mut tx, &lease, at(90)).await.expect("held");
    directory.grant_id = Some(scene.grant.id.clone());
    directory.view = Some(View::Administrator);
    directory.pass = 4;
    directory.part = Some(Part::Deleted);
    directory.page_token = Some("t".into());
    directory.pages = 3;
    directory.began_at = Some(at(2));
    directory.passed_at = Some(at(1));
    directory.seen = 7;
    directory.unreadable = 2;
    directory.next_pass_at = Some(at(99));
    directory.restarts = 1;
    directory.problem = Some("no_directory".into());
    directory.problem_since = Some(at(2));
    directory.failures = 3;
    directories::save(&mut tx, &directory, &lease).await.expect("saved");
    let found = directories::of_organization(&mut tx, &scene.organization).await.expect("read").expect("one");
    assert_eq!(found, directory);
    directories::want(&mut tx, &scene.organization, at(4)).await.expect("wanted");
    let wanted = directories::of_organization(&mut tx, &scene.organization).await.expect("read").expect("one");
    assert_eq!((wanted.wanted_at, wanted.due_at), (Some(at(4)), Some(at(4))));
    let late = leases::Lease { number: lease.number - 1, ..lease.clone() };
    let look = async |tx: &mut Tx, before, now| {
        directories::look(tx, &scene.organization, at(before), at(now)).await.expect("asked")
    };
    assert!(!look(&mut tx, 5, 9).await, "a pass runs");
    let between = directories::Directory { part: None, ..directory.clone() };
    directories::save(&mut tx, &between, &lease).await.expect("saved");
    assert!(!look(&mut tx, 4, 9).await, "somebody wanted it since then");
    assert!(look(&mut tx, 5, 9).await && !look(&mut tx, 5, 9).await, "once");
    let wanted = directories::of_organization(&mut tx, &scene.organization).await.expect("read").expect("one");
    assert_eq!((wanted.wanted_at, wanted.due_at), (Some(at(9)), Some(at(9))));
    let refused = directories::save(&mut tx, &directory, &late).await;
    assert!(matches!(refused, Err(StoreError::LeaseLost)), "{refused:?}");
}

async fn people_are_found_by_any_of_their_addresses(scene: Scene) {
    let id = &scene.organization;
    let mut tx = scene.store.write().await.expect("a transaction");
    let (one, two) = (someone("1", "Inês"), someone("2", "Bo"));
    directory_people::put(&mut tx, id, &one, None).await.expect("put");
    // Somebody who claims another's primary address doesn't get it.
    let two = DirectoryPerson { aliases: vec!["1@example.com".into(), "b@example.com".into()], seen_at: at(9), ..two };
    directory_people::put(&mut tx, id, &two, None).await.expect("put");
    assert_eq!(directory_people::by_id(&mut tx, id, "1").await.expect("read"), Some(one.clone()));
    let asked: Vec<String> =
        ["1@example.com", "alias-1@example.org", "b@example.com", "x@x.example"].map(String::from).into();
    let found = directory_people::by_addresses(&mut tx, id, &asked).await.expect("read");
    let ids: BTreeMap<&str, &str> = found.iter().map(|(at, it)| (at.as_str(), it.google_id.as_str())).collect();
    let expected = [("1@example.com", "1"), ("alias-1@example.org", "1"), ("b@example.com", "2")];
    assert_eq!(ids, expected.into_iter().collect());
    // An alias that has gone leads nowhere, and the row is the same after a second writing.
    let renamed =
        DirectoryPerson { address: "i@example.com".into(), aliases: vec!["1@example.com".into()], ..one.clone() };
    directory_people::put(&mut tx, id, &renamed, Some(&one)).await.expect("put");
    let wanted = ["1@example.com", "I@Example.com ", "alias-1@example.org"];
    let resolved = identities::resolve(&mut tx, id, &wanted).await.expect("resolved");
    assert_eq!(resolved["I@Example.com "].key(), "1", "as people write it");
    assert_eq!(resolved["1@example.com"].key(), "2", "it is nobody's primary address any more, and two was seen last");
    let outsider = Identity::Outsider { address: "alias-1@example.org".into() };
    assert_eq!(resolved["alias-1@example.org"], outsider);
    let hidden = DirectoryPerson { is_listed: false, ..renamed.clone() };
    directory_people::put(&mut tx, id, &hidden, Some(&renamed)).await.expect("put");
    let resolved = identities::resolve(&mut tx, id, &["i@example.com"]).await.expect("resolved");
    assert_eq!(resolved["i@example.com"], Identity::Outsider { address: "i@example.com".into() });
    let other = OrganizationId::new(&scene.random);
    assert!(directory_people::by_addresses(&mut tx, &other, &asked).await.expect("read").is_empty());
    assert!(directory_people::by_ids(&mut tx, &other, &["1".into()]).await.expect("read").is_empty());
    assert_eq!(directory_people::by_ids(&mut tx, id, &["1".into(), "9".into()]).await.expect("read").len(), 1);
}

async fn people_are_searched_by_every_word_in_order_of_name(scene: Scene) {
    let id = &scene.organization;
    let mut tx = scene.store.write().await.expect("a transaction");
    for (google_id, name) in [("3", "Cleo 100%"), ("1", "Ada Tea"), ("2", "Bo Ätna")] {
        directory_people::put(&mut tx, id, &someone(google_id, name), None).await.expect("put");
    }
    let hidden = DirectoryPerson { is_listed: false, ..someone("4", "Dora") };
    let gone = DirectoryPerson { gone_at: Some(at(2)), ..someone("5", "Emil") };
    for it in [&hidden, &gone] {
        directory_people::put(&mut tx, id, it, None).await.expect("put");
    }
    for (words, expected) in [
        ("", vec!["1", "2", "3"]),
        ("TEA head", vec!["1", "2", "3"]),
        ("ätna tea", vec!["2"]),
        ("alias-3", vec!["3"]),
        ("100%", vec!["3"]),
        ("_", vec![]),
        ("dora", vec![]),
    ] {
        let found = directory_people::search(&mut tx, id, words, None, 9).await.expect("read");
        let ids: Vec<&str> = found.iter().map(|it| it.google_id.as_str()).collect();
        assert_eq!(ids, expected, "{words}");
    }
    let erased = directory_people::search(&mut tx, id, "", Some("erased"), 9).await.expect("read");
    assert_eq!(erased.len(), 3, "after somebody who was erased: from the beginning");
    let second = directory_people::search(&mut tx, id, "", Some("1"), 1).await.expect("read");
    assert_eq!(second[0].google_id, "2");
    let reports = directory_people::reports(&mut tx, id, &["boss@example.com"], None, 2).await.expect("read");
    assert_eq!(reports.len(), 2);
    assert!(directory_people::reports(&mut tx, id, &[], None, 2).await.expect("read").is_empty());
    let count = directory_people::count(&mut tx, id).await.expect("read");
    assert_eq!(count, DirectoryCount { shown: 3, unlisted: 1 });
    let other = OrganizationId::new(&scene.random);
    assert!(directory_people::search(&mut tx, &other, "", None, 9).await.expect("read").is_empty());
    assert_eq!(directory_people::count(&mut tx, &other).await.expect("read"), DirectoryCount::default());
}

async fn a_search_minds_no_accents_and_begins_with_whose_name_begins_so(scene: Scene) {
    let id = &scene.organization;
    let mut tx = scene.store.write().await.expect("a transaction");
    for (google_id, name) in [
        ("1", "Anna Müller"),
        ("2", "Mullah Kemal"),
        ("3", "José Straße"),
        ("4", "Łukasz Ødegård"),
        ("5", "Μαρία Ёлкина"),
        ("6", "山田 が子"),
        ("7", "Åke Camuller"),
        ("8", "Emil 50%"),
    ] {
        directory_people::put(&mut tx, id, &someone(google_id, name), None).await.expect("put");
    }
    let search = async |tx: &mut Tx, words: &str, after: Option<&str>, limit| {
        let found = directory_people::search(tx, id, words, after, limit).await.expect("read");
        found.into_iter().map(|it| it.google_id).collect::<Vec<_>>()
    };
    for (words, expected) in [
        // Whose name begins with it, then where it begins a word, then the others.
        ("mull", vec!["2", "1", "7"]),
        ("Müll", vec!["2", "1", "7"]),
        ("jose", vec!["3"]),
        ("JOSÉ strasse", vec!["3"]),
        ("lukasz odegard", vec!["4"]),
        ("μαρια", vec!["5"]),
        ("елкина", vec!["5"]),
        ("が", vec!["6"]),
        ("か", vec![]),
        ("50%", vec!["8"]),
        // Decomposed, as some keyboards write it.
        ("mu\u{308}ller", vec!["1", "7"]),
        ("\u{308}", vec!["7", "1", "8", "3", "4", "2", "5", "6"]),
    ] {
        assert_eq!(search(&mut tx, words, None, 9).await, expected, "{words}");
    }
    assert_eq!(search(&mut tx, "mull", None, 1).await, ["2"]);
    assert_eq!(search(&mut tx, "mull", Some("2"), 1).await, ["1"]);
    assert_eq!(search(&mut tx, "mull", Some("1"), 9).await, ["7"], "each once, page by page");
}

async fn who_stands_at_the_top_and_how_many_are_below(scene: Scene) {
    let id = &scene.organization;
    let mut tx = scene.store.write().await.expect("a transaction");
    let below = |google_id: &str, manager: &str| {
        let manager_address = if manager.is_empty() { String::new() } else { format!("{manager}@example.com") };
        DirectoryPerson { manager_address, ..someone(google_id, google_id) }
    };
    let by_alias = DirectoryPerson { manager_address: "alias-a@example.org".into(), ..below("c", "") };
    for it in [
        below("a", ""),
        below("b", "a"),
        by_alias,
        below("of nobody", "stranger"),
        below("of themselves", "of themselves"),
        DirectoryPerson { is_listed: false, ..below("hidden", "a") },
        below("of the hidden", "hidden"),
        DirectoryPerson { gone_at: Some(at(2)), ..below("gone", "") },
        below("of the gone", "gone"),
        below("circle 1", "circle 2"),
        below("circle 2", "circle 1"),
    ] {
        directory_people::put(&mut tx, id, &it, None).await.expect("put");
    }
    let ids = |found: Vec<DirectoryPerson>| found.into_iter().map(|it| it.google_id).collect::<Vec<_>>();
    let tops = async |tx: &mut Tx, after: Option<&str>, limit| {
        ids(directory_people::tops(tx, id, after, limit).await.expect("read"))
    };
    let all = ["a", "of nobody", "of the gone", "of the hidden", "of themselves"];
    assert_eq!(tops(&mut tx, None, 9).await, all);
    assert_eq!(tops(&mut tx, Some("of nobody"), 2).await, all[2..4]);
    assert_eq!(tops(&mut tx, Some("erased"), 9).await, all, "from the beginning");
    let addresses = ["a@example.com", "alias-a@example.org", "of themselves@example.com", "x@example.com"];
    let counts = directory_people::count_reports(&mut tx, id, &addresses).await.expect("counted");
    assert_eq!(counts.into_iter().collect::<Vec<_>>(), [(addresses[0].to_owned(), 1), (addresses[1].to_owned(), 1)]);
    let second = directory_people::reports(&mut tx, id, &addresses, Some("b"), 9).await.expect("read");
    assert_eq!(ids(second), ["c", "of themselves"]);
    let other = OrganizationId::new(&scene.random);
    assert!(directory_people::tops(&mut tx, &other, None, 9).await.expect("read").is_empty());
    assert!(directory_people::count_reports(&mut tx, &other, &addresses).await.expect("counted").is_empty());
}

async fn whom_a_pass_missed_is_told_apart_from_whom_it_saw(scene: Scene) {
    let id = &scene.organization;
    let mut tx = scene.store.write().await.expect("a transaction");
    for google_id in ["1", "2", "3"] {
        let person = DirectoryPerson { misses: 1, ..someone(google_id, "") };
        directory_people::put(&mut tx, id, &person, None).await.expect("put");
    }
    directory_people::seen(&mut tx, id, &["2".into()], 2, at(5)).await.expect("marked");
    let seen = directory_people::by_id(&mut tx, id, "2").await.expect("read").expect("there");
    assert_eq!((seen.pass, seen.misses, seen.seen_at), (2, 0, at(5)));
    let unseen = directory_people::unseen(&mut tx, id, 2, 9).await.expect("read");
    assert_eq!(unseen.iter().map(|it| it.google_id.as_str()).collect::<Vec<_>>(), ["1", "3"]);
    assert_eq!(directory_people::unseen(&mut tx, id, 2, 1).await.expect("read").len(), 1);
    let missed = async |tx: &mut Tx, view| directory_people::count_missed(tx, id, view, 2).await.expect("counted");
    assert_eq!(missed(&mut tx, View::Public).await, (2, 3));
    let looked_at = DirectoryPerson { pass: 2, misses: 1, is_listed: false, ..someone("3", "") };
    directory_people::put(&mut tx, id, &looked_at, None).await.expect("put");
    assert_eq!(missed(&mut tx, View::Public).await, (1, 2), "whom a view never shows it can't miss");
    assert_eq!(missed(&mut tx, View::Administrator).await, (2, 3), "who was looked at is missed all the same");
    directory_people::forget_misses(&mut tx, id).await.expect("forgotten");
    assert_eq!(directory_people::by_id(&mut tx, id, "1").await.expect("read").expect("there").misses, 0);
}

async fn the_grant_that_sees_most_comes_first(scene: Scene) {
    let id = &scene.organization;
    let mut tx = scene.store.write().await.expect("a transaction");
    let mut ids = Vec::new();
    for number in 2..6 {
        let other = person(&scene.random, id, &number.to_string());
        people::create(&mut tx, &other, at(0)).await.expect("created");
        let mut theirs = grant(&scene.random, &other, &format!("g{number}"));
        theirs.scopes = vec!["openid".into(), "dir".into()];
        grants::put(&mut tx, &theirs).await.expect("put");
        ids.push(theirs.id);
        if number == 5 {
            people::set_role(&mut tx, &other.id, Role::Administrator).await.expect("set");
        }
    }
    let listed = |found: Vec<directory_readers::Reader>| -> Vec<(usize, Option<Ability>)> {
        let place = |it: &directory_readers::Reader| ids.iter().position(|id| *id == it.grant_id).expect("one of ours");
        found.iter().map(|it| (place(it), it.ability)).collect()
    };
    directory_readers::put(&mut tx, id, &ids[0], Ability::Nothing, at(10)).await.expect("put");
    directory_readers::put(&mut tx, id, &ids[1], Ability::Public, at(10)).await.expect("put");
    directory_readers::put(&mut tx, id, &ids[2], Ability::Administrator, at(10)).await.expect("put");
    let found = directory_readers::candidates(&mut tx, id, "dir", None, at(5), 9).await.expect("read");
    let (administrator, public, nothing) = (Ability::Administrator, Ability::Public, Ability::Nothing);
    assert_eq!(listed(found), [(2, Some(administrator)), (3, None), (1, Some(public)), (0, Some(nothing))]);
    let found = directory_readers::candidates(&mut tx, id, "dir", Some(&ids[0]), at(5), 1).await.expect("read");
    assert_eq!(listed(found), [(0, Some(nothing))], "the one that reads is among them, however few are wanted");
    assert_eq!(directory_readers::asked_since(&mut tx, id, at(5)).await.expect("read"), 3);
    // Who was asked too long ago is asked again; who connected since, too; who doesn't work, not at all.
    grants::set_state(&mut tx, &ids[2], GrantState::NeedsPerson, "revoked", at(11)).await.expect("set");
    grants::set_suspended(&mut tx, &ids[3], Some(at(11)), at(11)).await.expect("set");
    let found = directory_readers::candidates(&mut tx, id, "dir", None, at(20), 9).await.expect("read");
    assert_eq!(found.len(), 2);
    let mut again = grants::by_id(&mut tx, &ids[0]).await.expect("read").expect("theirs");
    again.connected_at = at(12);
    grants::put(&mut tx, &again).await.expect("put");
    let found = directory_readers::candidates(&mut tx, id, "dir", None, at(5), 9).await.expect("read");
    assert_eq!(listed(found), [(0, None), (1, Some(public))]);
    assert!(
        directory_readers::candidates(&mut tx, id, "di", None, at(5), 9).await.expect("read").is_empty(),
        "whole words"
    );
    assert!(directory_readers::others_permit(&mut tx, id, "dir", &ids[0]).await.expect("read"));
    for left in &ids[1..] {
        grants::set_state(&mut tx, left, GrantState::Left, "left", at(30)).await.expect("set");
    }
    assert!(!directory_readers::others_permit(&mut tx, id, "dir", &ids[0]).await.expect("read"));
    directories::wake(&mut tx, &DirectoryId::new(&scene.random), id, at(1)).await.expect("made");
    directory_people::put(&mut tx, id, &someone("1", "Inês"), None).await.expect("put");
    let mut erased = Vec::new();
    loop {
        let some = erasure::some_of_directory(&mut tx, id).await.expect("erased");
        if some.is_empty() {
            break;
        }
        erased.extend(some);
    }
    assert_eq!(erased, [("directories", 1), ("addresses of the directory", 2), ("people of the directory", 1)]);
    assert_eq!(directories::of_organization(&mut tx, id).await.expect("read"), None);
}

const DAY: i64 = 24 * 3_600;

async fn who_never_came_is_whom_neither_a_sign_in_nor_a_connection_knows(scene: Scene) {
    let (id, issuer) = (&scene.organization, "https://issuer.example");
    let mut tx = scene.store.write().await.expect("a transaction");
    let at_work = |google_id: &str| someone(google_id, &format!("{google_id}@example.com"));
    let here = DirectoryPerson { address: scene.person.email.to_lowercase(), ..at_work("elsewhere") };
    for it in [
        // Connected, signing in, known by the address alone.
        at_work("g1"),
        at_work(&scene.person.subject),
        here,
        // Nobody who could come.
        DirectoryPerson { suspended: Some(true), ..at_work("suspended") },
        DirectoryPerson { archived: Some(true), ..at_work("archived") },
        DirectoryPerson { gone_at: Some(at(1)), ..at_work("gone") },
        DirectoryPerson { is_listed: false, ..at_work("hidden") },
        DirectoryPerson { address: String::new(), ..at_work("nameless") },
        at_work("one"),
        at_work("two"),
    ] {
        directory_people::put(&mut tx, id, &it, None).await.expect("put");
    }
    let found = directory_people::never_came(&mut tx, id, issuer, 9).await.expect("read");
    assert_eq!(found.iter().map(|it| it.google_id.as_str()).collect::<Vec<_>>(), ["one", "two"]);
    assert_eq!(directory_people::never_came(&mut tx, id, issuer, 1).await.expect("read").len(), 1);
    assert_eq!(directory_people::count_never_came(&mut tx, id, issuer).await.expect("counted"), 2);
    let other = OrganizationId::new(&scene.random);
    assert_eq!(directory_people::count_never_came(&mut tx, &other, issuer).await.expect("counted"), 0);
}

async fn who_was_deleted_long_enough_ago_is_overdue(scene: Scene) {
    let id = &scene.organization;
    let mut tx = scene.store.write().await.expect("a transaction");
    let gone =
        |google_id: &str| DirectoryPerson { deleted_at: Some(at(0)), gone_at: Some(at(0)), ..someone(google_id, "") };
    directory_people::put(&mut tx, id, &gone("g1"), None).await.expect("put");
    directory_people::put(&mut tx, id, &gone("g9"), None).await.expect("put");
    let overdue = async |tx: &mut _, day: i64| {
        directory_people::overdue(tx, "https://issuer.example", None, at(day * DAY), 9).await.expect("read")
    };
    assert_eq!(overdue(&mut tx, 29).await, []);
    let whom = |is_connected, signs_in| Overdue { person_id: scene.person.id.clone(), is_connected, signs_in };
    assert_eq!(overdue(&mut tx, 30).await, [whom(true, false)]);
    organizations::set_retention_days(&mut tx, id, 7).await.expect("set");
    assert_eq!(overdue(&mut tx, 6).await, []);
    assert_eq!(overdue(&mut tx, 7).await, [whom(true, false)], "the policy holds at once");
    let after = directory_people::overdue(&mut tx, "https://issuer.example", Some(&scene.person.id), at(7 * DAY), 9);
    assert_eq!(after.await.expect("read"), [], "each once");
    let signs_in = gone(&scene.person.subject);
    directory_people::put(&mut tx, id, &signs_in, None).await.expect("put");
    assert_eq!(overdue(&mut tx, 7).await, [whom(true, true)]);
    let back = DirectoryPerson { deleted_at: None, gone_at: None, ..gone("g1") };
    directory_people::put(&mut tx, id, &back, Some(&gone("g1"))).await.expect("put");
    directory_people::put(&mut tx, id, &DirectoryPerson { deleted_at: None, ..signs_in }, None).await.expect("put");
    assert_eq!(overdue(&mut tx, 99).await, [], "seen again, the clock stands");
    // Entries of strangers go after the same time; of those who are here only after them.
    directory_people::put(&mut tx, id, &gone("g1"), None).await.expect("put");
    assert_eq!(directory_people::erase_gone(&mut tx, at(6 * DAY), 9).await.expect("erased"), 0);
    assert_eq!(directory_people::erase_gone(&mut tx, at(7 * DAY), 9).await.expect("erased"), 2);
    assert!(directory_people::by_id(&mut tx, id, "g9").await.expect("read").is_none());
    assert!(directory_people::by_id(&mut tx, id, "g1").await.expect("read").is_some());
}

async fn a_suspended_grant_says_since_when_and_connecting_again_ends_it(scene: Scene) {
    let id = &scene.grant.id;
    let mut tx = scene.store.write().await.expect("a transaction");
    grants::set_suspended(&mut tx, id, Some(at(5)), at(5)).await.expect("set");
    let found = grants::of_accounts(&mut tx, &scene.organization, &["g1".into(), "g7".into()]).await.expect("read");
    assert_eq!(found.iter().map(|it| it.suspended_at).collect::<Vec<_>>(), [Some(at(5))]);
    let standing =
        people::one(&mut tx, &scene.organization, &scene.person.id, at(9)).await.expect("read").expect("there");
    assert_eq!(standing.standing, "suspended");
    grants::set_email(&mut tx, id, "new@example.com").await.expect("set");
    grants::wake(&mut tx, id, at(7)).await.expect("woken");
    assert_eq!(mailboxes::by_id(&mut tx, &scene.mailbox.id).await.expect("read").expect("there").due_at, Some(at(7)));
    let again = grants::by_id(&mut tx, id).await.expect("read").expect("there");
    assert_eq!(again.email, "new@example.com");
    grants::put(&mut tx, &again).await.expect("put");
    assert_eq!(grants::by_id(&mut tx, id).await.expect("read").expect("there").suspended_at, None);
    let other = OrganizationId::new(&scene.random);
    assert!(grants::of_accounts(&mut tx, &other, &["g1".into()]).await.expect("read").is_empty());
    let subjects = [scene.person.subject.clone()];
    let known = people::of_accounts(&mut tx, &scene.organization, &scene.person.issuer, &subjects).await;
    assert_eq!(known.expect("read"), std::slice::from_ref(&scene.person));
    let foreign = people::of_accounts(&mut tx, &scene.organization, "https://other.example", &subjects).await;
    assert_eq!(foreign.expect("read"), []);
    people::set_email(&mut tx, &scene.person, "Renamed@example.com").await.expect("set");
    assert_eq!(people::by_email(&mut tx, "renamed@example.com", 9).await.expect("read").len(), 1);
}

async fn mail_with_somebody_is_found_among_the_newest(scene: Scene) {
    let mut tx = scene.store.write().await.expect("a transaction");
    for (number, sender, to) in [
        (1, "ines@example.com", ""),
        (2, "x@x.example", "Inês <Ines@example.com>"),
        (3, "y@y.example", "z@z.example"),
        (4, "y@y.example", "agines@example.com, \"i\" <a.ines@example.com>, ines@example.com.example"),
    ] {
        let mut it = message(&format!("m{number}"), number, &["INBOX"]);
        it.sender_address = sender.into();
        it.headers = BTreeMap::from([("to".to_owned(), vec![to.to_owned()])]);
        messages::add(&mut tx, &scene.organization, &scene.mailbox.id, std::slice::from_ref(&it), 1)
            .await
            .expect("added");
    }
    let found = async |tx: &mut _, addresses: &[&str], searched| {
        let found = messages::with_addresses(tx, &scene.mailbox.id, addresses, searched, 9).await.expect("read");
        found.into_iter().map(|it| it.id).collect::<Vec<String>>()
    };
    assert_eq!(found(&mut tx, &["ines@example.com"], 9).await, ["m2", "m1"]);
    assert_eq!(found(&mut tx, &["ines@example.com"], 3).await, ["m2"], "only the newest are looked through");
    assert_eq!(found(&mut tx, &["i%@example.com"], 9).await, Vec::<String>::new());
    assert_eq!(found(&mut tx, &[], 9).await, Vec::<String>::new());
}
