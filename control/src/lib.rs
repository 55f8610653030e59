//! Steers a run from outside. One protocol, HTTP/1.1 with JSON and one request a connection, over a Unix socket that only
//! its owner can use ([`Server::unix`]) and, if asked for, over TCP on loopback ([`Server::loopback`]):
//!
//! | request | body | does |
//! |---|---|---|
//! | `GET /status` | | nothing |
//! | `POST /vus` | `{"vus": 20, "scenario": "name"}` | [`Control::set_vus`](loadr_engine::Control::set_vus) |
//! | `POST /rate` | `{"rate": 500.0, "scenario": "name"}` | [`Control::set_rate`](loadr_engine::Control::set_rate) |
//! | `POST /pause`, `/resume` | | [`Control::pause`](loadr_engine::Control::pause), [`Control::resume`](loadr_engine::Control::resume) |
//! | `POST /stop` | | ends the run gracefully |
//!
//! `scenario` may be left out when only one can be meant. The answer is the run's [`Status`](loadr_engine::Status), or
//! `{"error": "…"}` with a status from 400 on. All of it runs on threads of its own; a shard sees one changed word.

mod api;
mod client;
mod place;
mod server;

pub use api::{Answer, answer};
pub use client::{Asked, ask};
pub use place::{find_socket, own_socket};
pub use server::Server;
