//! Faults that change what an operation does instead of replacing it.

use rokini_wire::shapes::record::{PutRecordsRequest, PutRecordsResponse, PutRecordsResultEntry};
use rokini_wire::{AnyRequest, AnyResponse, ErrorCode, ServiceError};

use crate::faults::Fault;
use crate::model::Caller;
use crate::service::Service;

/// Carries a request out as the fault wants. A fault that does not fit the operation changes nothing.
pub(crate) fn carry_out(
    service: &Service,
    caller: &Caller,
    request: &AnyRequest,
    fault: Option<&Fault>,
) -> Result<AnyResponse, ServiceError> {
    match (request, fault) {
        (AnyRequest::GetRecords(request), Some(Fault::Empty)) => service
            .with_model(|model, now| model.get_records_as(caller, now, request, 0))
            .map(AnyResponse::GetRecords),
        (AnyRequest::PutRecords(request), Some(Fault::FailRecords { records, code })) => {
            put_without(service, caller, request, records, code).map(AnyResponse::PutRecords)
        }
        _ => service.call_any(caller, request),
    }
}

fn put_without(
    service: &Service,
    caller: &Caller,
    request: &PutRecordsRequest,
    failing: &[usize],
    code: &ErrorCode,
) -> Result<PutRecordsResponse, ServiceError> {
    let mut kept = request.clone();
    let mut index = 0;
    kept.records.retain(|_| {
        let keep = !failing.contains(&index);
        index += 1;
        keep
    });
    let mut response = if kept.records.is_empty() {
        PutRecordsResponse::new([])
    } else {
        service.call_unsettled(caller, &kept)?
    };
    let mut written = response.records.into_iter();
    let failed = || PutRecordsResultEntry::new().error_code(code.clone()).error_message("Failed by a fault.");
    response.records = (0..request.records.len())
        .map(|index| match failing.contains(&index) {
            true => failed(),
            false => written.next().unwrap_or_else(failed),
        })
        .collect();
    let count = response.records.iter().filter(|record| record.error_code.is_some()).count();
    response.failed_record_count = i32::try_from(count).ok();
    Ok(response)
}
