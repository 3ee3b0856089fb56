//! Drafting accounts.

use super::{CommandError, Draft};
use crate::model::catalog::Change;
use crate::model::id::{AccountId, TenantId};
use crate::model::record::Account;

impl Draft<'_> {
    /// Creates an account.
    ///
    /// # Errors
    /// The tenant is unknown, or the name is a bad text.
    pub fn create_account(&mut self, tenant: TenantId, name: &str) -> Result<AccountId, CommandError> {
        self.tenant(tenant)?;
        let id = AccountId(self.next_id());
        self.stage(Change::PutAccount(Account { id, tenant, name: name.into() }))?;
        Ok(id)
    }

    /// Changes what an account is. It stays its tenant's.
    ///
    /// # Errors
    /// It is unknown, or what it would be is not valid.
    pub fn edit_account(
        &mut self,
        id: AccountId,
        edit: impl FnOnce(&mut Account),
    ) -> Result<(), CommandError> {
        let mut account = Account::clone(self.account(id)?);
        let tenant = account.tenant;
        edit(&mut account);
        (account.id, account.tenant) = (id, tenant);
        self.stage(Change::PutAccount(account))
    }

    /// Deletes an account and its applications, whichever services they are of, all in one command.
    ///
    /// # Errors
    /// It is unknown.
    pub fn delete_account(&mut self, id: AccountId) -> Result<(), CommandError> {
        self.account(id)?;
        self.delete_applications_of(id.0)?;
        self.stage(Change::DeleteAccount(id))
    }
}
