//! A shared store is a store: so that the wrappers go around an `Arc<dyn LeaseStore>` too.

use std::sync::Arc;

use async_trait::async_trait;

use super::{LeaseStore, Listing};
use crate::{
    Epoch, GroupId, GroupRow, GroupUpdate, GroupView, LeaseKey, LeaseRow, LeaseUpdate, StoreError, StreamId,
    StreamRow, WorkerId, WorkerRow, WorkerUpdate, WriteOutcome,
};

#[async_trait]
impl<S: LeaseStore + ?Sized> LeaseStore for Arc<S> {
    async fn init(&self) -> Result<(), StoreError> {
        (**self).init().await
    }

    async fn list(&self, group: &GroupId, listing: Listing) -> Result<GroupView, StoreError> {
        (**self).list(group, listing).await
    }

    async fn worker(&self, group: &GroupId, id: &WorkerId) -> Result<Option<WorkerRow>, StoreError> {
        (**self).worker(group, id).await
    }

    async fn lease(&self, group: &GroupId, key: &LeaseKey) -> Result<Option<LeaseRow>, StoreError> {
        (**self).lease(group, key).await
    }

    async fn stream(&self, group: &GroupId, id: &StreamId) -> Result<Option<StreamRow>, StoreError> {
        (**self).stream(group, id).await
    }

    async fn insert_worker(
        &self,
        group: &GroupId,
        row: &WorkerRow,
    ) -> Result<WriteOutcome<WorkerRow>, StoreError> {
        (**self).insert_worker(group, row).await
    }

    async fn insert_lease(
        &self,
        group: &GroupId,
        row: &LeaseRow,
    ) -> Result<WriteOutcome<LeaseRow>, StoreError> {
        (**self).insert_lease(group, row).await
    }

    async fn insert_stream(
        &self,
        group: &GroupId,
        row: &StreamRow,
    ) -> Result<WriteOutcome<StreamRow>, StoreError> {
        (**self).insert_stream(group, row).await
    }

    async fn update_worker(
        &self,
        group: &GroupId,
        id: &WorkerId,
        update: &WorkerUpdate,
    ) -> Result<WriteOutcome<WorkerRow>, StoreError> {
        (**self).update_worker(group, id, update).await
    }

    async fn update_lease(
        &self,
        group: &GroupId,
        key: &LeaseKey,
        update: &LeaseUpdate,
    ) -> Result<WriteOutcome<LeaseRow>, StoreError> {
        (**self).update_lease(group, key, update).await
    }

    async fn delete_worker(&self, group: &GroupId, id: &WorkerId) -> Result<(), StoreError> {
        (**self).delete_worker(group, id).await
    }

    async fn delete_lease(&self, group: &GroupId, key: &LeaseKey, seen: Epoch) -> Result<bool, StoreError> {
        (**self).delete_lease(group, key, seen).await
    }

    async fn group(&self, group: &GroupId) -> Result<GroupRow, StoreError> {
        (**self).group(group).await
    }

    async fn update_group(&self, group: &GroupId, update: &GroupUpdate) -> Result<GroupRow, StoreError> {
        (**self).update_group(group, update).await
    }

    async fn delete_stream(&self, group: &GroupId, id: &StreamId) -> Result<(), StoreError> {
        (**self).delete_stream(group, id).await
    }

    async fn delete_group(&self, group: &GroupId) -> Result<(), StoreError> {
        (**self).delete_group(group).await
    }
}
