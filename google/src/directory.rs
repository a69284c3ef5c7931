//! The people of an organization, as far as `admin.directory.user.readonly` reaches.
//!
//! Source: the Directory API's discovery document and its guide on users. An ordinary person sees the public view only,
//! and there is no sync token: a pass lists everybody and the caller compares. A reader must not break: every request
//! names its view, later pages too (leaving it out means the administrator's, which most people may not see), and every
//! field may be missing, because which ones the public view has is promised nowhere.

use serde::{Deserialize, Deserializer};

use crate::{
    calendar::{Identified, Readable, readable},
    calls::{self, Call},
    error::{Error, ErrorKind, Refusal},
    request::{Caller, Client, Request},
    wire,
};

/// How many people a page may have: the most that Google gives.
const PEOPLE_PER_PAGE: &str = "500";
/// The longest page token that is sent back.
const PAGE_TOKEN_LENGTH_MAX: usize = 2048;

/// The directory of one person's organization.
#[derive(Clone, Copy, Debug)]
pub struct Directory<'a> {
    client: &'a Client,
    caller: &'a Caller,
}

/// As whom the directory is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum View {
    /// What everybody in the organization may see.
    Public,
    /// What an administrator sees. Others are refused: [`Refusal::Forbidden`].
    Administrator,
    /// The people whom an administrator deleted within the last 20 days; refused like [`View::Administrator`].
    Deleted,
}

impl View {
    fn word(self) -> &'static str {
        match self {
            Self::Public => "domain_public",
            Self::Administrator | Self::Deleted => "admin_view",
        }
    }
}

/// A page of people.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UserPage {
    /// The people, by address.
    #[serde(default, deserialize_with = "readable")]
    pub users: Readable<User>,
    /// How to ask for the next page. Good for three days.
    #[serde(default, deserialize_with = "wire::maybe_text")]
    pub next_page_token: Option<String>,
    /// Changes with the page.
    #[serde(default)]
    pub etag: Option<String>,
}

/// A person of the organization. Hostile text: people write some of it themselves.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct User {
    /// Stays when the address changes.
    pub id: String,
    /// Changes with the person.
    pub etag: Option<String>,
    /// The address.
    pub primary_email: Option<String>,
    /// The name.
    pub name: Option<UserName>,
    /// Addresses of any kind, also outside of the organization.
    #[serde(deserialize_with = "listed")]
    pub emails: Vec<UserEmail>,
    /// Other addresses that lead to the same person.
    #[serde(deserialize_with = "listed")]
    pub aliases: Vec<String>,
    /// The same, given by the organization's domain aliases.
    #[serde(deserialize_with = "listed")]
    pub non_editable_aliases: Vec<String>,
    /// Where and as what they work.
    #[serde(deserialize_with = "listed")]
    pub organizations: Vec<UserOrganization>,
    /// Who is who to them; [`User::manager`] reads it.
    #[serde(deserialize_with = "listed")]
    pub relations: Vec<UserRelation>,
    /// Telephone numbers.
    #[serde(deserialize_with = "listed")]
    pub phones: Vec<UserPhone>,
    /// Where they sit.
    #[serde(deserialize_with = "listed")]
    pub locations: Vec<UserLocation>,
    /// Where their picture is.
    pub thumbnail_photo_url: Option<String>,
    /// Whether an administrator suspended them. `None` is not "no": the public view doesn't say.
    pub suspended: Option<bool>,
    /// Why.
    pub suspension_reason: Option<String>,
    /// Whether an administrator archived them.
    pub archived: Option<bool>,
    /// Whether they are a super administrator.
    pub is_admin: Option<bool>,
    /// Whether they have a part of an administrator's rights.
    pub is_delegated_admin: Option<bool>,
    /// Whether they are a guest.
    pub is_guest_user: Option<bool>,
    /// Whether they have a mailbox.
    pub is_mailbox_setup: Option<bool>,
    /// Whether others find them in the directory.
    pub include_in_global_address_list: Option<bool>,
    /// Their place in the organization's tree of units.
    pub org_unit_path: Option<String>,
    /// The organization's id at Google.
    pub customer_id: Option<String>,
    /// When the account was made, as Google writes it.
    pub creation_time: Option<String>,
    /// When it was deleted, as Google writes it; of [`View::Deleted`] only.
    pub deletion_time: Option<String>,
}

impl Identified for User {
    fn id(&self) -> &str {
        &self.id
    }
}

impl User {
    /// The address of their manager.
    pub fn manager(&self) -> Option<&str> {
        let manager = self.relations.iter().find(|relation| relation.kind.as_deref() == Some("manager"));
        manager.and_then(|relation| relation.value.as_deref())
    }
}

/// A person's name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct UserName {
    /// Given and family name in the organization's order.
    pub full_name: Option<String>,
    /// Given name.
    pub given_name: Option<String>,
    /// Family name.
    pub family_name: Option<String>,
    /// What the person wants to be called.
    pub display_name: Option<String>,
}

/// An address.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct UserEmail {
    /// The address.
    pub address: Option<String>,
    /// `home`, `work`, `other`, `custom`.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// Whether it is the primary one.
    #[serde(deserialize_with = "wire::or_default")]
    pub primary: bool,
}

/// A post in an organization.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct UserOrganization {
    /// The organization's name.
    pub name: Option<String>,
    /// The post.
    pub title: Option<String>,
    /// The department.
    pub department: Option<String>,
    /// Where the organization is.
    pub location: Option<String>,
    /// What it costs on.
    pub cost_center: Option<String>,
    /// Whether it is the main one.
    #[serde(deserialize_with = "wire::or_default")]
    pub primary: bool,
}

/// Who somebody is to the person.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct UserRelation {
    /// `manager`, `assistant`, `dotted_line_manager` and others.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// An address, or a name.
    pub value: Option<String>,
}

/// A telephone number.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct UserPhone {
    /// As it was written.
    pub value: Option<String>,
    /// `work`, `mobile` and others.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// Whether it is the main one.
    #[serde(deserialize_with = "wire::or_default")]
    pub primary: bool,
}

/// Where somebody sits.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct UserLocation {
    /// `desk`, `default`, `custom`.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// Where that is.
    pub area: Option<String>,
    /// The building's id.
    pub building_id: Option<String>,
    /// The floor.
    pub floor_name: Option<String>,
    /// The part of the floor.
    pub floor_section: Option<String>,
    /// The desk.
    pub desk_code: Option<String>,
}

/// A list that Google's document calls "any". What is not a list, or an entry that can't be read, is left out: people
/// are more than their telephone numbers.
fn listed<'de, D: Deserializer<'de>, T: serde::de::DeserializeOwned>(from: D) -> Result<Vec<T>, D::Error> {
    let value = serde_json::Value::deserialize(from)?;
    let entries = if let serde_json::Value::Array(entries) = value { entries } else { Vec::new() };
    Ok(entries.into_iter().filter_map(|entry| serde_json::from_value(entry).ok()).collect())
}

impl Client {
    /// The directory of one person's organization.
    pub fn directory<'a>(&'a self, caller: &'a Caller) -> Directory<'a> {
        Directory { client: self, caller }
    }
}

impl<'a> Directory<'a> {
    fn request(self, call: &'static Call) -> Request<'a> {
        let request = Request::new(call, &self.client.inner.endpoints.directory);
        request.bearer(&self.caller.access_token).on_behalf(&self.caller.on_behalf, self.caller.purpose)
    }

    /// Everybody whom the view shows, by address. A page token that is no longer good is [`ErrorKind::CursorGone`]:
    /// begin the pass anew. An account that belongs to no organization is [`ErrorKind::NoDirectory`].
    pub async fn users(self, view: View, page_token: Option<&str>) -> Result<UserPage, Error> {
        let mut request = self.request(&calls::USERS).query("customer", "my_customer");
        request = request.query("viewType", view.word()).query("projection", "full");
        request = request.query("maxResults", PEOPLE_PER_PAGE).query("orderBy", "email");
        if view == View::Deleted {
            request = request.query("showDeleted", "true");
        }
        request = match page_token {
            Some(token) if token.is_empty() || token.len() > PAGE_TOKEN_LENGTH_MAX => {
                return Err(request.refused("the page token is empty or too long"));
            }
            Some(token) => request.query("pageToken", token.to_owned()).sorting(later_page),
            None if view == View::Public => request.sorting(first_public_page),
            None => request,
        };
        self.client.read(request).await
    }

    /// One person, by address, alias or id.
    pub async fn user(self, key: &'a str, view: View) -> Result<User, Error> {
        let request = self.request(&calls::USER).argument(key).query("viewType", view.word());
        self.client.read(request.query("projection", "full")).await
    }
}

/// Google doesn't document what an expired page token answers; 400 and 410 were both seen.
fn later_page(kind: ErrorKind) -> ErrorKind {
    match kind {
        ErrorKind::Refused(Refusal::Invalid | Refusal::Deleted) => ErrorKind::CursorGone,
        kind => kind,
    }
}

/// Google doesn't document what an account without an organization answers; everybody else is let in here.
fn first_public_page(kind: ErrorKind) -> ErrorKind {
    match kind {
        ErrorKind::Refused(Refusal::Invalid | Refusal::Forbidden | Refusal::NotFound) => ErrorKind::NoDirectory,
        kind => kind,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(json: &str) -> UserPage {
        wire::parse(json.as_bytes()).unwrap()
    }

    #[test]
    fn nobody_but_the_id_is_promised() {
        let page = page(r#"{"users":[{"id":"1"},{"primaryEmail":"x@x.example"}],"nextPageToken":"p"}"#);
        assert_eq!(page.users.items[0], User { id: "1".to_owned(), ..User::default() });
        assert_eq!(page.users.unreadable.len(), 1);
        assert!(self::page("{}").users.items.is_empty());
    }

    #[test]
    fn an_odd_list_is_no_reason_to_lose_a_person() {
        let page = page(
            r#"{"users":[{"id":"1","suspended":true,"phones":{"value":"7"},"emails":[3,{"address":"a@x.example"}],
            "relations":[{"type":"assistant","value":"c@x.example"},{"type":"manager","value":"b@x.example"}],
            "organizations":[{"title":"Head of Tea","primary":true}],"aliases":null}]}"#,
        );
        let user = &page.users.items[0];
        assert_eq!((user.manager(), user.suspended), (Some("b@x.example"), Some(true)));
        assert_eq!((user.emails.len(), user.phones.len(), user.aliases.len()), (1, 0, 0));
        assert_eq!(user.organizations[0].title.as_deref(), Some("Head of Tea"));
    }
}
