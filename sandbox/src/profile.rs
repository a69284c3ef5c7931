//! What a directory says about a person beside name and address, and what administrators do to it. The account itself
//! (suspended, deleted, administrator) is in `accounts.rs`.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::accounts::Person;
use crate::world::World;

/// Most aliases of one person (Google's own limit is 30).
const ALIASES_MAX: usize = 30;
/// Longest word or line in a profile, in bytes.
const TEXT_BYTES_MAX: usize = 1_000;

/// What the directory says about a person.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Profile {
    /// Other addresses that lead to the account.
    pub aliases: Vec<String>,
    /// Post.
    pub title: String,
    /// Department.
    pub department: String,
    /// Address of the manager.
    pub manager: String,
    /// Telephone numbers at work.
    pub phones: Vec<String>,
    /// The building in which they sit; empty for nowhere.
    pub building: String,
    /// The desk at which they sit.
    pub desk: String,
    /// Whether there is a picture.
    pub photo: bool,
    /// Left out of what everybody sees ("directory sharing" is off for the person).
    pub hidden: bool,
    /// Archived by an administrator.
    pub archived: bool,
    /// May read the directory as an administrator without being one.
    pub delegated_administrator: bool,
    /// Place in the tree of units; `/` when empty.
    pub unit: String,
    /// IANA name of the time zone in which they live.
    pub zone: String,
    /// When the account was made; long ago when absent.
    pub created_at: Option<Timestamp>,
    /// When it was deleted last.
    pub deleted_at: Option<Timestamp>,
}

/// Something that an administrator does to an entry of the directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "action", rename_all = "snake_case", deny_unknown_fields)]
pub enum DirectoryAction {
    /// Another address; the present one becomes an alias, as at Google.
    Rename {
        /// The new address, in the same company.
        email: String,
    },
    /// An address more.
    AddAlias {
        /// The alias.
        email: String,
    },
    /// An address less.
    RemoveAlias {
        /// The alias.
        email: String,
    },
    /// Changes what is given and leaves the rest.
    Edit {
        /// Given name.
        #[serde(default)]
        given_name: Option<String>,
        /// Family name.
        #[serde(default)]
        family_name: Option<String>,
        /// Post.
        #[serde(default)]
        title: Option<String>,
        /// Department.
        #[serde(default)]
        department: Option<String>,
        /// Address of the manager.
        #[serde(default)]
        manager: Option<String>,
        /// Telephone number.
        #[serde(default)]
        phone: Option<String>,
        /// Place in the tree of units.
        #[serde(default)]
        unit: Option<String>,
        /// Whether there is a picture.
        #[serde(default)]
        photo: Option<bool>,
        /// Left out of what everybody sees.
        #[serde(default)]
        hidden: Option<bool>,
        /// Archived.
        #[serde(default)]
        archived: Option<bool>,
        /// May read the directory as an administrator.
        #[serde(default)]
        delegated_administrator: Option<bool>,
    },
    /// Somebody new, in the company of the person who is named.
    Hire {
        /// The address.
        email: String,
        /// Given name.
        given_name: String,
        /// Family name.
        #[serde(default)]
        family_name: String,
        /// Whether they have a mailbox.
        #[serde(default)]
        mailbox: bool,
    },
}

/// Why the directory stays as it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DirectoryError {
    /// Nobody has this address.
    #[error("nobody in this world has the address `{0}`")]
    NoPerson(String),
    /// The account belongs to nobody but its owner.
    #[error("`{0}` belongs to no company, so there is no directory to change")]
    NoDirectory(String),
    /// The address is somebody else's already.
    #[error("the address `{0}` is taken; choose another one")]
    Taken(String),
    /// Not an address of the same company.
    #[error("`{0}` is not an address at the person's own domain; write it as name@{1}")]
    Foreign(String, String),
    /// There is no such alias.
    #[error("`{0}` is none of the person's aliases")]
    NoAlias(String),
    /// Too many or too long.
    #[error("a person may have {ALIASES_MAX} aliases, and each text may have {TEXT_BYTES_MAX} bytes")]
    TooMuch,
}

impl World {
    /// Does something to a person's entry of the directory. The answer is the person afterwards.
    pub fn edit_directory(&mut self, email: &str, action: &DirectoryAction) -> Result<Person, DirectoryError> {
        let nobody = || DirectoryError::NoPerson(email.to_owned());
        let person = self.identity.person_by_email(email).ok_or_else(nobody)?;
        let (sub, hd) = (person.sub.clone(), person.hd.clone());
        let domain = hd.ok_or_else(|| DirectoryError::NoDirectory(email.to_owned()))?;
        match action {
            DirectoryAction::Rename { email: new } | DirectoryAction::AddAlias { email: new } => {
                self.check_free(new, &domain, &sub)?;
            }
            DirectoryAction::Hire { email: new, given_name, family_name, mailbox } => {
                self.check_free(new, &domain, "")?;
                let mut hired = Person::new(new, given_name, family_name, Some(&domain));
                hired.has_mailbox = *mailbox;
                hired.profile.created_at = Some(self.clock.now());
                if hired.name.len() > TEXT_BYTES_MAX {
                    return Err(DirectoryError::TooMuch);
                }
                if self.identity.people.contains_key(&hired.sub) {
                    return Err(DirectoryError::Taken(new.clone()));
                }
                self.identity.people.insert(hired.sub.clone(), hired.clone());
                self.open_mailboxes();
                return Ok(hired);
            }
            _ => {}
        }
        let person = self.identity.people.get_mut(&sub).ok_or_else(nobody)?;
        change(person, action)?;
        Ok(person.clone())
    }

    fn check_free(&self, email: &str, domain: &str, sub: &str) -> Result<(), DirectoryError> {
        let local = email.split_once('@').filter(|(_, own)| own.eq_ignore_ascii_case(domain)).map(|(local, _)| local);
        if local.is_none_or(|local| local.is_empty() || local.contains(char::is_whitespace)) {
            return Err(DirectoryError::Foreign(email.to_owned(), domain.to_owned()));
        }
        match self.identity.person_by_email(email) {
            Some(other) if other.sub != sub => Err(DirectoryError::Taken(email.to_owned())),
            _ => Ok(()),
        }
    }
}

fn change(person: &mut Person, action: &DirectoryAction) -> Result<(), DirectoryError> {
    let same = |alias: &String, email: &str| alias.eq_ignore_ascii_case(email);
    let profile = &mut person.profile;
    match action {
        DirectoryAction::Rename { email } => {
            if profile.aliases.len() >= ALIASES_MAX || email.len() > TEXT_BYTES_MAX {
                return Err(DirectoryError::TooMuch);
            }
            profile.aliases.retain(|alias| !same(alias, email));
            let former = std::mem::replace(&mut person.email, email.clone());
            if !same(&former, email) {
                profile.aliases.push(former);
            }
        }
        DirectoryAction::AddAlias { email } => {
            if profile.aliases.len() >= ALIASES_MAX || email.len() > TEXT_BYTES_MAX {
                return Err(DirectoryError::TooMuch);
            }
            if !same(&person.email, email) && !profile.aliases.iter().any(|alias| same(alias, email)) {
                profile.aliases.push(email.clone());
            }
        }
        DirectoryAction::RemoveAlias { email } => {
            let before = profile.aliases.len();
            profile.aliases.retain(|alias| !same(alias, email));
            if profile.aliases.len() == before {
                return Err(DirectoryError::NoAlias(email.clone()));
            }
        }
        DirectoryAction::Edit { .. } => edit(person, action)?,
        DirectoryAction::Hire { .. } => {}
    }
    Ok(())
}

fn edit(person: &mut Person, action: &DirectoryAction) -> Result<(), DirectoryError> {
    let DirectoryAction::Edit {
        given_name,
        family_name,
        title,
        department,
        manager,
        phone,
        unit,
        photo,
        hidden,
        archived,
        delegated_administrator,
    } = action
    else {
        return Ok(());
    };
    let texts = [given_name, family_name, title, department, manager, phone, unit];
    if texts.into_iter().flatten().any(|text| text.len() > TEXT_BYTES_MAX) {
        return Err(DirectoryError::TooMuch);
    }
    let profile = &mut person.profile;
    let set = |place: &mut String, text: &Option<String>| {
        if let Some(text) = text {
            place.clone_from(text);
        }
    };
    set(&mut person.given_name, given_name);
    set(&mut person.family_name, family_name);
    set(&mut profile.title, title);
    set(&mut profile.department, department);
    set(&mut profile.manager, manager);
    set(&mut profile.unit, unit);
    if let Some(phone) = phone {
        profile.phones = if phone.is_empty() { Vec::new() } else { vec![phone.clone()] };
    }
    person.name = format!("{} {}", person.given_name, person.family_name).trim().to_owned();
    profile.photo = photo.unwrap_or(profile.photo);
    profile.hidden = hidden.unwrap_or(profile.hidden);
    profile.archived = archived.unwrap_or(profile.archived);
    profile.delegated_administrator = delegated_administrator.unwrap_or(profile.delegated_administrator);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::tests::{empty_world, sub};

    fn edited(world: &mut World, json: &str) -> Result<Person, DirectoryError> {
        world.edit_directory("ines@example.com", &serde_json::from_str(json).unwrap())
    }

    #[test]
    fn a_renamed_person_keeps_id_and_former_address() {
        let mut world = empty_world();
        let renamed = edited(&mut world, r#"{"action":"rename","email":"i.prado@example.com"}"#).unwrap();
        assert_eq!((renamed.sub, renamed.email.as_str()), (sub(), "i.prado@example.com"));
        assert_eq!(renamed.profile.aliases, ["ines@example.com"]);
        assert!(world.mailbox("ines@example.com").is_some(), "mail to the former address still arrives");
        let back = edited(&mut world, r#"{"action":"rename","email":"ines@example.com"}"#).unwrap();
        assert_eq!(back.profile.aliases, ["i.prado@example.com"]);
        assert!(edited(&mut world, r#"{"action":"remove_alias","email":"i.prado@example.com"}"#).is_ok());
    }

    #[test]
    fn what_cannot_be_says_why() {
        let mut world = empty_world();
        let mut error = |json: &str| edited(&mut world, json).unwrap_err().to_string();
        assert!(error(r#"{"action":"rename","email":"bo@example.com"}"#).contains("is taken"));
        assert!(error(r#"{"action":"add_alias","email":"x@else.example"}"#).contains("name@example.com"));
        assert!(error(r#"{"action":"remove_alias","email":"x@example.com"}"#).contains("none of"));
        assert!(error(r#"{"action":"hire","email":"bo@example.com","given_name":"Bo"}"#).contains("is taken"));
        let long = format!(r#"{{"action":"edit","title":"{}"}}"#, "x".repeat(2_000));
        assert!(error(&long).contains("1000 bytes"));
    }
}
