//! Every address that Intail answers, with who may use it. A reader must not add a route anywhere else.

use std::fmt;

use axum::routing::{MethodRouter, get, post};

use super::{
    Web, abilities, access_keys, accounts_policy, activity, administration, api, approval, assets, audit, calendar,
    directory, health, home, integrations, leaving, looks, mail, people, policy, privacy, receipt, sign_in_link,
    streams,
};
use crate::notices;

/// One address.
pub struct Route {
    /// How it is asked.
    pub method: Method,
    /// Its path; `{id}` stands for one segment.
    pub path: &'static str,
    /// Who may use it.
    pub who: Who,
    pub(super) handler: fn() -> MethodRouter<Web>,
}

/// How an address is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Reads.
    Get,
    /// Does something.
    Post,
}

/// Who may use an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// Everyone. What only some may do here carries its own proof, such as a token that Google signed.
    Anyone,
    /// A person who is signed in, also while their account is suspended at Google: how their own connection stands, the
    /// ways out, and the receipts of having left.
    EvenSuspended,
    /// A person who is signed in.
    SignedIn,
    /// An administrator or auditor who is signed in: reads, and changes nothing.
    Overseer,
    /// An administrator who is signed in.
    Administrator,
    /// A person who is signed in, or a program with a person's access key.
    Key,
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Get => "GET",
            Self::Post => "POST",
        })
    }
}

const fn route(method: Method, path: &'static str, who: Who, handler: fn() -> MethodRouter<Web>) -> Route {
    Route { method, path, who, handler }
}

use Method::{Get, Post};
use Who::{Administrator, Anyone, EvenSuspended, Key, Overseer, SignedIn};

/// All addresses.
pub const ROUTES: &[Route] = &[
    route(Get, "/", Anyone, || get(home::front)),
    route(Get, "/signin", Anyone, || get(home::sign_in_page)),
    route(Post, "/signin", Anyone, || post(home::sign_in)),
    route(Get, "/signin/callback", Anyone, || get(home::signed_in)),
    route(Get, "/signin/link", Anyone, || get(sign_in_link::page)),
    // The link is the proof.
    route(Post, "/signin/link", Anyone, || post(sign_in_link::enter)),
    // The link carries its own proof: Intail signed it for one organization, and it runs out.
    route(Get, "/approve/{token}", Anyone, || get(approval::guide)),
    route(Get, "/what-intail-can-do", Anyone, || get(abilities::page)),
    route(Post, "/signout", EvenSuspended, || post(home::sign_out)),
    route(Get, "/settings/integrations", EvenSuspended, || get(integrations::page)),
    route(Get, "/settings/integrations/disconnect", EvenSuspended, || get(integrations::leave_page)),
    route(Post, "/connect/google", EvenSuspended, || post(integrations::connect)),
    route(Post, "/connect/google/wait", SignedIn, || post(integrations::wait)),
    // The person may have signed out meanwhile: that has its own page, so the callback itself asks who they are.
    route(Get, "/connect/google/callback", Anyone, || get(integrations::connected)),
    route(Post, "/disconnect/google", EvenSuspended, || post(integrations::leave)),
    route(Get, "/mail", SignedIn, || get(mail::page)),
    route(Get, "/mail/thread/{id}", SignedIn, || get(mail::thread)),
    route(Get, "/activity", SignedIn, || get(activity::page)),
    route(Get, "/receipt", SignedIn, || get(receipt::page)),
    route(Get, "/receipt/export.jsonl", SignedIn, || get(receipt::export)),
    route(Get, "/receipt/left", EvenSuspended, || get(leaving::own)),
    route(Get, "/receipt/left/{id}", EvenSuspended, || get(leaving::download_own)),
    route(Get, "/receipt/left/{id}/done", EvenSuspended, || get(integrations::left)),
    route(Get, "/calendar", SignedIn, || get(calendar::page)),
    route(Get, "/calendar/events/{id}/{event_id}", SignedIn, || get(calendar::event)),
    route(Post, "/calendar/choose", SignedIn, || post(calendar::choose)),
    route(Post, "/calendar/look", SignedIn, || post(looks::calendars)),
    route(Post, "/directory/look", SignedIn, || post(looks::directory)),
    route(Get, "/directory", SignedIn, || get(directory::page)),
    route(Get, "/directory/{id}", SignedIn, || get(directory::person)),
    route(Get, "/settings/keys", SignedIn, || get(access_keys::page)),
    route(Post, "/settings/keys", SignedIn, || post(access_keys::create)),
    route(Post, "/settings/keys/delete", SignedIn, || post(access_keys::delete)),
    route(Get, "/admin", Overseer, || get(administration::page)),
    route(Get, "/admin/people", Overseer, || get(people::page)),
    route(Get, "/admin/people/{id}", Overseer, || get(people::person)),
    route(Post, "/admin/people/{id}/role", Administrator, || post(people::set_role)),
    route(Post, "/admin/people/{id}/sign-out", Administrator, || post(people::sign_out)),
    route(Post, "/admin/invitations", Administrator, || post(people::invite)),
    route(Post, "/admin/invitations/{id}/withdraw", Administrator, || post(people::withdraw)),
    route(Get, "/admin/policy", Overseer, || get(policy::page)),
    route(Post, "/admin/policy", Administrator, || post(policy::change)),
    route(Get, "/admin/audit", Overseer, || get(audit::page)),
    route(Get, "/admin/audit.jsonl", Overseer, || get(audit::export)),
    route(Get, "/admin/people/{id}/disconnect", Administrator, || get(leaving::disconnect_page)),
    route(Post, "/admin/people/{id}/disconnect", Administrator, || post(leaving::disconnect)),
    route(Get, "/admin/receipts", Overseer, || get(leaving::of_organization)),
    route(Get, "/admin/receipts/{id}", Overseer, || get(leaving::download_of_organization)),
    route(Get, "/admin/receipts/{id}/done", Overseer, || get(leaving::disconnected)),
    route(Post, "/admin/policy/accounts", Administrator, || post(accounts_policy::set)),
    route(Get, "/api/v1/openapi.json", Anyone, || get(api::openapi)),
    route(Get, "/api/v1/me", Key, || get(api::me)),
    route(Get, "/api/v1/connection", Key, || get(api::connection)),
    route(Get, "/api/v1/receipt", Key, || get(receipt::receipt)),
    route(Get, "/api/v1/receipt/verify", Key, || get(receipt::verify)),
    // Public keys are for everyone who was handed a receipt.
    route(Get, "/api/v1/receipts/key", Anyone, || get(receipt::keys)),
    route(Get, "/settings/privacy", SignedIn, || get(privacy::page)),
    route(Post, "/settings/privacy", SignedIn, || post(privacy::choose)),
    route(Post, "/settings/privacy/preview", SignedIn, || post(privacy::preview)),
    route(Post, "/settings/privacy/again", SignedIn, || post(privacy::read_again)),
    route(Get, "/admin/privacy", Overseer, || get(privacy::floor_page)),
    route(Post, "/admin/privacy", Administrator, || post(privacy::set_floor)),
    route(Post, "/admin/privacy/preview", Administrator, || post(privacy::preview_floor)),
    route(Get, "/api/v1/privacy", Key, || get(api::privacy)),
    route(Get, "/api/v1/mailboxes", Key, || get(api::mailboxes)),
    route(Get, "/api/v1/mailboxes/{id}", Key, || get(api::mailbox)),
    route(Get, "/api/v1/mailboxes/{id}/coverage", Key, || get(api::coverage)),
    route(Get, "/api/v1/mailboxes/{id}/labels", Key, || get(api::labels)),
    route(Get, "/api/v1/mailboxes/{id}/messages", Key, || get(api::messages)),
    route(Get, "/api/v1/mailboxes/{id}/messages/{message_id}", Key, || get(api::message)),
    route(Get, "/api/v1/calendars", Key, || get(api::calendars)),
    route(Get, "/api/v1/calendars/{id}/coverage", Key, || get(api::calendar_coverage)),
    route(Get, "/api/v1/agenda", Key, || get(api::agenda::agenda)),
    route(Get, "/api/v1/directory", Key, || get(api::directory)),
    route(Get, "/api/v1/directory/{id}", Key, || get(api::directory_person)),
    route(Get, "/api/v1/changes", Key, || get(api::changes)),
    route(Get, "/api/v1/changes/stream", Key, || get(streams::stream)),
    route(Post, "/notices/pubsub", Anyone, || post(notices::push::receive)),
    // The channel's token is the proof.
    route(Post, "/notices/calendar", Anyone, || post(notices::channels::receive)),
    route(Get, "/healthz", Anyone, || get(health::alive)),
    route(Get, "/readyz", Anyone, || get(health::ready)),
    route(Get, "/metrics", Anyone, || get(health::metrics)),
    route(Get, "/static/{name}", Anyone, || get(assets::asset)),
];
