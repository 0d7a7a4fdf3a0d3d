//! The official Rust crate, around a processor that counts events and the length of their records.

use std::env;
use std::io::Write;
use std::sync::Mutex;

use lambda_extension::{
    service_fn, Error, Extension, LambdaEvent, LambdaTelemetry, LambdaTelemetryRecord, NextEvent, SharedService,
};
use serde_json::Value;
use tokio::sync::Notify;

struct Tally {
    count: u64,
    length: u64,
    marks: Vec<u64>,
    done: Vec<String>,
}

static TALLY: Mutex<Tally> = Mutex::new(Tally { count: 0, length: 0, marks: Vec::new(), done: Vec::new() });
static ARRIVED: Notify = Notify::const_new();

fn mode() -> String {
    env::var("BENCH_MODE").unwrap_or_default()
}

async fn on_event(event: LambdaEvent) -> Result<(), Error> {
    match event.next {
        NextEvent::Shutdown(_) => std::process::exit(0),
        NextEvent::Invoke(invoke) if mode() == "flush" => loop {
            let arrived = ARRIVED.notified();
            {
                let mut tally = TALLY.lock().unwrap();
                if let Some(at) = tally.done.iter().position(|id| *id == invoke.request_id) {
                    tally.done.drain(..=at);
                    return Ok(());
                }
            }
            arrived.await;
        },
        NextEvent::Invoke(_) => Ok(()),
    }
}

async fn on_telemetry(events: Vec<LambdaTelemetry<Value>>) -> Result<(), Error> {
    if mode() == "stall" {
        std::future::pending::<()>().await;
    }
    let mut tally = TALLY.lock().unwrap();
    for event in &events {
        tally.count += 1;
        tally.length += match &event.record {
            LambdaTelemetryRecord::Function(Value::String(line)) => line.len() as u64,
            LambdaTelemetryRecord::Function(Value::Object(record)) => record.len() as u64,
            LambdaTelemetryRecord::PlatformStart { request_id, .. } => request_id.len() as u64,
            LambdaTelemetryRecord::PlatformRuntimeDone { request_id, .. } => request_id.len() as u64,
            LambdaTelemetryRecord::PlatformReport { request_id, .. } => request_id.len() as u64,
            _ => 0,
        };
        if let LambdaTelemetryRecord::PlatformRuntimeDone { request_id, .. } = &event.record {
            if mode() == "flush" {
                tally.done.push(request_id.clone());
            }
        }
        if tally.marks.first() == Some(&tally.count) {
            tally.marks.remove(0);
            let mut out = std::io::stdout().lock();
            writeln!(out, "mark {} {}", tally.count, tally.length)?;
            out.flush()?;
        }
    }
    ARRIVED.notify_one();
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    let marks = env::var("BENCH_MARKS").unwrap_or_default();
    TALLY.lock().unwrap().marks = marks.split(',').filter_map(|mark| mark.parse().ok()).collect();
    let port: u16 = env::var("BENCH_PORT")?.parse()?;
    if mode() == "idle" {
        return Extension::new().with_events_processor(service_fn(on_event)).run().await;
    }
    let events: &[&str] = if mode() == "flush" { &["INVOKE", "SHUTDOWN"] } else { &["SHUTDOWN"] };
    Extension::new()
        .with_events(events)
        .with_events_processor(service_fn(on_event))
        .with_telemetry_record_type::<Value>()
        .with_telemetry_processor(SharedService::new(service_fn(on_telemetry)))
        .with_telemetry_types(&["platform", "function"])
        .with_telemetry_port_number(port)
        .run()
        .await
}
