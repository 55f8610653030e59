//! The host anybody would write first: generated bindings, wasmtime's default features, all of WASI, a deadline by epoch.
//! It calls the guest that returns at once, with a 1 KiB body and no or eight headers, as `plugin-host/benches/call.rs`
//! does, and prints nanoseconds per call: the median and the range of eleven rounds.
//!
//! `cargo run --release --manifest-path bench/naive-host/Cargo.toml`

use std::hint::black_box;
use std::time::{Duration, Instant};

use wasmtime::component::{Component, Linker, ResourceTable};
use wasmtime::{Config, Engine, Result, Store};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

mod bindings {
    wasmtime::component::bindgen!({ path: "../../plugin-host/wit", world: "loadr-plugin" });
}

const CALLS: u32 = 50_000;
const ROUNDS: usize = 11;

struct Host {
    wasi: WasiCtx,
    table: ResourceTable,
}

impl WasiView for Host {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

fn main() -> Result<()> {
    let mut config = Config::new();
    config.epoch_interruption(true);
    let engine = Engine::new(&config)?;
    let guest = wat::parse_str(include_str!("../../../plugin-host/benches/empty.wat"))?;
    let component = Component::new(&engine, guest)?;
    let mut linker = Linker::new(&engine);
    wasmtime_wasi::p2::add_to_linker_sync(&mut linker)?;
    let host = Host { wasi: WasiCtx::builder().build(), table: ResourceTable::new() };
    let mut store = Store::new(&engine, host);
    store.set_epoch_deadline(50);
    let plugin = bindings::LoadrPlugin::instantiate(&mut store, &component, &linker)?;
    std::thread::spawn(move || {
        loop {
            std::thread::sleep(Duration::from_millis(1));
            engine.increment_epoch();
        }
    });

    let body = vec![b'x'; 1024];
    let headers = [
        ("server", "nginx/1.27.0 (stable)"),
        ("date", "Mon, 01 Jan 2024 00:00:00 GMT"),
        ("content-type", "application/json"),
        ("content-length", "1024"),
        ("connection", "keep-alive"),
        ("cache-control", "no-store, max-age=0"),
        ("x-request-id", "6f1f4f5e-7c1c-4a5a"),
        ("vary", "accept-encoding"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()));
    let settings = r#"{"left":"id=","right":";"}"#;
    for count in [0, 8] {
        let mut rounds: Vec<f64> = Vec::new();
        for _ in 0..ROUNDS {
            let start = Instant::now();
            for _ in 0..CALLS {
                store.set_epoch_deadline(50);
                black_box(plugin.loadr_plugin_extractor().call_extract(
                    &mut store,
                    black_box(&body),
                    black_box(&headers[..count]),
                    settings,
                )?);
            }
            rounds.push(start.elapsed().as_nanos() as f64 / f64::from(CALLS));
        }
        rounds.sort_by(f64::total_cmp);
        println!(
            "naive host, empty guest, 1 KiB body, {count} headers: {:.0} ns ({:.0} to {:.0})",
            rounds[ROUNDS / 2],
            rounds[0],
            rounds[ROUNDS - 1]
        );
    }
    Ok(())
}
