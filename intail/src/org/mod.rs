//! Organizations and what is theirs: who may join, what is known of the administrator's approval, what Intail can ask
//! of Google at all, what may be kept of people's mail, the audit log, and the receipts of what was asked for them.

pub mod abilities;
pub mod approval;
pub mod audit;
pub mod identities;
pub mod invitations;
pub mod joining;
pub mod links;
pub mod names;
pub mod privacy;
pub mod receipts;
pub mod roles;
