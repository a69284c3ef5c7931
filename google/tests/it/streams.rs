//! Calendar and directory over the wire: one set of parameters, what belongs to a token, how refusals are sorted.

use intail_google::{
    Client, Error, ErrorKind, Refusal,
    calendar::{ChannelSpec, EVENTS_PER_PAGE, Place},
    directory::View,
};
use secrecy::SecretString;
use url::Url;

use crate::server::{Seen, Server, caller, json};

/// An answer that every call can read.
const ANYTHING: &str = r#"{"id":"c","resourceId":"r","expiration":1795604800000,"nextPageToken":"p"}"#;

/// The query without the mask, in order.
fn query(seen: &Seen) -> String {
    let kept = seen.query().into_iter().filter(|(name, _)| name != "fields");
    kept.map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" ")
}

fn refusal(status: u16, reason: &str) -> String {
    let errors = serde_json::json!([{ "domain": "global", "reason": reason, "message": reason }]);
    serde_json::json!({ "error": { "code": status, "message": reason, "errors": errors } }).to_string()
}

fn place<'a>(sync_token: Option<&'a str>, page_token: Option<&'a str>) -> Place<'a> {
    Place { sync_token, page_token }
}

#[tokio::test]
async fn events_are_always_asked_for_in_the_same_way() {
    let server = Server::start(|_| json(200, ANYTHING)).await;
    let (client, report) = server.client();
    let caller = caller();
    let calendar = client.calendar(&caller);
    let places = [place(None, None), place(None, Some("p")), place(Some("s"), None), place(Some("s"), Some("p"))];
    for place in places {
        calendar.events("ines@example.com", place, EVENTS_PER_PAGE).await.unwrap();
    }
    calendar.calendars(place(Some("s"), Some("p"))).await.unwrap();

    let seen = server.seen();
    let canonical = "maxResults=500 maxAttendees=200";
    let expected =
        ["", " pageToken=p", " syncToken=s", " syncToken=s pageToken=p"].map(|end| canonical.to_owned() + end);
    assert_eq!(seen.iter().take(4).map(query).collect::<Vec<_>>(), expected);
    assert_eq!(seen[0].line(), "GET /calendar/v3/calendars/ines@example.com/events");
    assert_eq!(seen[4].line(), "GET /calendar/v3/users/me/calendarList");
    assert_eq!(query(&seen[4]), "maxResults=250 showDeleted=true showHidden=true syncToken=s pageToken=p");
    let mask = seen[0].query().into_iter().find(|(name, _)| name == "fields").unwrap().1;
    assert!(mask.starts_with("items(id,etag,") && mask.contains("nextSyncToken") && !mask.contains(' '), "{mask}");
    assert!(report.records().iter().all(|record| record.units == 0 && record.outcome == "ok"));
}

#[tokio::test]
async fn a_channels_token_is_a_secret() {
    let server = Server::start(|seen| match seen.uri.path().ends_with("/stop") {
        true => json(404, refusal(404, "notFound")),
        false if seen.body.contains("\"bad\"") => json(400, format!(r#"{{"error":{{"message":"{}"}}}}"#, "hush-token")),
        false => json(200, ANYTHING),
    })
    .await;
    let (client, _) = server.client();
    let caller = caller();
    let calendar = client.calendar(&caller);
    let (token, address) = (SecretString::from("hush-token"), Url::parse("https://intail.example/notices").unwrap());
    let spec = ChannelSpec { id: "channel-1", token: &token, address: &address, ttl_s: 604_800 };
    let channel = calendar.watch("primary", spec).await.unwrap();
    assert_eq!(channel.expires_at.unwrap().as_millisecond(), 1_795_604_800_000);
    let error = calendar.watch("primary", ChannelSpec { id: "bad", ..spec }).await.unwrap_err();
    assert_eq!(error.detail(), Some("[hidden]"));
    assert!(!format!("{spec:?} {error:?}").contains("hush"));
    calendar.stop("channel-1", "r").await.expect("what is over is stopped");

    let seen = server.seen();
    assert_eq!(seen[0].line(), "POST /calendar/v3/calendars/primary/events/watch");
    let body =
        r#"{"id":"channel-1","type":"web_hook","address":"https://intail.example/notices","token":"hush-token","#;
    assert_eq!(seen[0].body, format!("{body}\"params\":{{\"ttl\":\"604800\"}}}}"));
    assert_eq!(seen[2].line(), "POST /calendar/v3/channels/stop");
    assert_eq!(seen[2].body, r#"{"id":"channel-1","resourceId":"r"}"#);

    let (plain, long) = (Url::parse("http://intail.example/").unwrap(), SecretString::from("x".repeat(257)));
    let empty = SecretString::from("");
    let bad = [
        ChannelSpec { address: &plain, ..spec },
        ChannelSpec { token: &long, ..spec },
        ChannelSpec { token: &empty, ..spec },
        ChannelSpec { id: "a b", ..spec },
        ChannelSpec { id: "", ..spec },
    ];
    for bad in bad {
        let error = calendar.watch("primary", bad).await.unwrap_err();
        assert_eq!((error.kind, error.status), (ErrorKind::Refused(Refusal::Invalid), None));
    }
    assert_eq!(server.seen().len(), 3, "nothing of that was sent");
}

#[tokio::test]
async fn every_kind_of_410_is_told_apart() {
    let server = Server::start(|seen| {
        let reason = seen.query().into_iter().find(|(name, _)| name == "syncToken").unwrap_or_default().1;
        json(410, refusal(410, &reason))
    })
    .await;
    let (client, report) = server.client();
    let caller = caller();
    let calendar = client.calendar(&caller);
    for reason in ["fullSyncRequired", "updatedMinTooLongAgo"] {
        let error = calendar.events("primary", place(Some(reason), None), EVENTS_PER_PAGE).await.unwrap_err();
        assert_eq!((error.kind, error.reason.as_deref()), (ErrorKind::CursorGone, Some(reason)));
    }
    let error = calendar.events("primary", place(Some("deleted"), None), EVENTS_PER_PAGE).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Refused(Refusal::Deleted));
    let outcomes: Vec<_> = report.records().iter().map(|record| record.outcome).collect();
    assert_eq!(outcomes, ["cursor_gone", "cursor_gone", "refused"]);
}

#[tokio::test]
async fn every_page_of_the_directory_names_its_view() {
    let server = Server::start(|_| json(200, ANYTHING)).await;
    let (client, _) = server.client();
    let caller = caller();
    let directory = client.directory(&caller);
    directory.users(View::Public, None).await.unwrap();
    directory.users(View::Public, Some("p")).await.unwrap();
    directory.users(View::Administrator, None).await.unwrap();
    directory.users(View::Deleted, None).await.unwrap();
    directory.user("ines@example.com", View::Public).await.unwrap();
    let seen = server.seen();
    let of = |view: &str| format!("customer=my_customer viewType={view} projection=full maxResults=500 orderBy=email");
    assert_eq!(query(&seen[0]), of("domain_public"));
    assert_eq!(query(&seen[1]), of("domain_public") + " pageToken=p");
    assert_eq!(query(&seen[2]), of("admin_view"));
    assert_eq!(query(&seen[3]), of("admin_view") + " showDeleted=true");
    assert_eq!(seen[0].line(), "GET /admin/directory/v1/users");
    assert_eq!(seen[4].line(), "GET /admin/directory/v1/users/ines@example.com");
    assert_eq!(query(&seen[4]), "viewType=domain_public projection=full");
}

/// What listing people answers when Google answers so.
async fn listed(status: u16, reason: &'static str, view: View, page_token: Option<&str>) -> Error {
    let server = Server::start(move |_| json(status, refusal(status, reason))).await;
    let client: Client = server.client().0;
    client.directory(&caller()).users(view, page_token).await.expect_err("it is refused")
}

#[tokio::test]
async fn who_has_no_directory_and_who_is_no_administrator() {
    for (status, reason) in [(400, "badRequest"), (403, "forbidden"), (404, "notFound")] {
        assert_eq!(listed(status, reason, View::Public, None).await.kind, ErrorKind::NoDirectory, "{status}");
    }
    let no_administrator = listed(403, "forbidden", View::Administrator, None).await;
    assert_eq!(no_administrator.kind, ErrorKind::Refused(Refusal::Forbidden));
    let scope = listed(403, "insufficientPermissions", View::Public, None).await;
    assert_eq!(scope.kind, ErrorKind::Refused(Refusal::ScopeMissing));
    assert!(matches!(listed(403, "quotaExceeded", View::Public, None).await.kind, ErrorKind::SlowDown { .. }));
}

#[tokio::test]
async fn an_expired_page_begins_the_pass_anew_whatever_google_answers() {
    for (status, reason) in [(400, "invalid"), (410, "deleted"), (410, "pageTokenExpired")] {
        assert_eq!(listed(status, reason, View::Public, Some("p")).await.kind, ErrorKind::CursorGone, "{reason}");
        assert_eq!(listed(status, reason, View::Administrator, Some("p")).await.kind, ErrorKind::CursorGone);
    }
    let forbidden = listed(403, "forbidden", View::Public, Some("p")).await;
    assert_eq!(forbidden.kind, ErrorKind::Refused(Refusal::Forbidden), "that is no account without a directory");
}
