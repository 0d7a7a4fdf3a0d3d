//! An extension on the published crate: says what telemetry it is sent and when it is invoked.

use lambda_extension::{service_fn, Error, Extension, LambdaEvent, LambdaTelemetry, LambdaTelemetryRecord, NextEvent, SharedService};

async fn events(event: LambdaEvent) -> Result<(), Error> {
    match event.next {
        NextEvent::Invoke(_) => println!("rust invoked"),
        NextEvent::Shutdown(_) => println!("rust shut down"),
    }
    Ok(())
}

async fn telemetry(batch: Vec<LambdaTelemetry>) -> Result<(), Error> {
    for event in batch {
        match event.record {
            LambdaTelemetryRecord::Function(record) => println!("rust function {record}"),
            LambdaTelemetryRecord::PlatformRuntimeDone { request_id, .. } => println!("rust done {request_id}"),
            _ => (),
        }
    }
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    Extension::new()
        .with_events_processor(service_fn(events))
        .with_telemetry_types(&["platform", "function"])
        .with_telemetry_processor(SharedService::new(service_fn(telemetry)))
        .run()
        .await
}
