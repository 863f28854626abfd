//! Faults that change what an operation does instead of replacing it.

use std::any::Any;

use rokini_wire::shapes::record::{
    GetRecordsRequest, PutRecordsRequest, PutRecordsResponse, PutRecordsResultEntry,
};
use rokini_wire::{ErrorCode, Operation, ServiceError};

use crate::faults::Fault;
use crate::model::{Model, Serve};
use crate::service::Service;

/// Carries a request out as the fault wants. A fault that does not fit the operation changes nothing.
pub(super) fn call<R: Operation>(
    service: &Service,
    request: &R,
    fault: &Fault,
) -> Result<R::Response, ServiceError>
where
    Model: Serve<R>,
{
    let any: &dyn Any = request;
    let bent: Option<Result<Box<dyn Any>, ServiceError>> = match fault {
        Fault::Empty => any.downcast_ref::<GetRecordsRequest>().map(|request| {
            let read = service.with_model(|model, now| model.get_records_up_to(now, request, 0));
            read.map(|response| Box::new(response) as _)
        }),
        Fault::FailRecords { records, code } => any.downcast_ref::<PutRecordsRequest>().map(|request| {
            put_without(service, request, records, code).map(|response| Box::new(response) as _)
        }),
        _ => None,
    };
    let Some(bent) = bent else { return service.call(request) };
    let response =
        bent?.downcast().map_err(|_| ServiceError::new(ErrorCode::InternalFailure, "A fault went wrong."))?;
    Ok(*response)
}

fn put_without(
    service: &Service,
    request: &PutRecordsRequest,
    failing: &[usize],
    code: &ErrorCode,
) -> Result<PutRecordsResponse, ServiceError> {
    let mut kept = request.clone();
    let mut place = 0;
    kept.records.retain(|_| {
        let keep = !failing.contains(&place);
        place += 1;
        keep
    });
    let done = if kept.records.is_empty() { PutRecordsResponse::default() } else { service.call(&kept)? };
    let mut written = done.records.into_iter();
    let failed = || PutRecordsResultEntry {
        error_code: Some(code.clone()),
        error_message: Some("Failed by a fault.".to_owned()),
        ..PutRecordsResultEntry::default()
    };
    let entry =
        |place| if failing.contains(&place) { failed() } else { written.next().unwrap_or_else(failed) };
    let records: Vec<PutRecordsResultEntry> = (0..request.records.len()).map(entry).collect();
    let count = records.iter().filter(|record| record.error_code.is_some()).count();
    Ok(PutRecordsResponse {
        failed_record_count: i32::try_from(count).ok(),
        records,
        encryption_type: done.encryption_type,
    })
}
