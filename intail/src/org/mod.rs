//! Organizations and what is theirs: who may join, what is known of the administrator's approval, what Intail can ask of
//! Google at all, the audit log, and the receipts of what was asked for their people.

pub mod abilities;
pub mod approval;
pub mod audit;
pub mod invitations;
pub mod joining;
pub mod links;
pub mod names;
pub mod receipts;
pub mod roles;
