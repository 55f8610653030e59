//! What can go wrong with one request, as the `error_kind` tag and the summary's error list name it.

/// A kind of failure. The names are part of the results format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum ErrorKind {
    /// The target refused the connection.
    ConnectRefused,
    /// The connection was not made in time.
    ConnectTimeout,
    /// The connection could not be made for another reason.
    ConnectFailed,
    /// The process, or the system, has no file descriptor left for a connection.
    FdExhausted,
    /// No local port is left for a connection to this address.
    PortExhausted,
    /// The machine has no memory left for a connection, or the shard no place.
    NoResources,
    /// The proxy made no way to the target.
    Proxy,
    /// A name could not be looked up again; its last address stays in use.
    Dns,
    /// The TLS connection could not be made, or broke.
    Tls,
    /// The peer reset the connection.
    Reset,
    /// The peer closed the connection before the response was whole.
    Closed,
    /// The response was not whole in the request's time.
    Timeout,
    /// The response is not HTTP/1.1 as RFC 9112 has it.
    Protocol,
    /// The response's head is larger than the limits allow.
    HeaderLimit,
    /// The response's body is larger than the limits allow.
    BodyLimit,
    /// The response's body is not what its `Content-Encoding` says.
    Decode,
    /// A redirect cannot be followed, or too many were.
    Redirect,
    /// The request needs a variable that is not set.
    UnsetVariable,
    /// A variable's value cannot stand in a header field.
    InvalidHeader,
    /// An extraction found nothing and has no default.
    Extract,
    /// The response's body is not the JSON, HTML or XML that something reads.
    BodyParse,
    /// An assertion did not hold.
    Assert,
    /// A step got a value that it cannot work with.
    Flow,
    /// A plugin's call took longer than it may.
    PluginTimeout,
    /// A plugin trapped or broke its contract.
    PluginTrap,
}

impl ErrorKind {
    /// Those that say that the generator's own machine had no more: nothing about the target.
    pub const OF_GENERATOR: [Self; 3] = [Self::FdExhausted, Self::PortExhausted, Self::NoResources];

    /// Each once, in order.
    pub(crate) const ALL: [Self; 25] = [
        Self::ConnectRefused,
        Self::ConnectTimeout,
        Self::ConnectFailed,
        Self::FdExhausted,
        Self::PortExhausted,
        Self::NoResources,
        Self::Proxy,
        Self::Dns,
        Self::Tls,
        Self::Reset,
        Self::Closed,
        Self::Timeout,
        Self::Protocol,
        Self::HeaderLimit,
        Self::BodyLimit,
        Self::Decode,
        Self::Redirect,
        Self::UnsetVariable,
        Self::InvalidHeader,
        Self::Extract,
        Self::BodyParse,
        Self::Assert,
        Self::Flow,
        Self::PluginTimeout,
        Self::PluginTrap,
    ];

    /// The kind whose [`ErrorKind::as_str`] this is.
    pub(crate) fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }

    /// The tag's value.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ConnectRefused => "connect_refused",
            Self::ConnectTimeout => "connect_timeout",
            Self::ConnectFailed => "connect_failed",
            Self::FdExhausted => "fd_exhausted",
            Self::PortExhausted => "port_exhausted",
            Self::NoResources => "no_resources",
            Self::Proxy => "proxy",
            Self::Dns => "dns",
            Self::Tls => "tls",
            Self::Reset => "reset",
            Self::Closed => "closed",
            Self::Timeout => "timeout",
            Self::Protocol => "protocol",
            Self::HeaderLimit => "header_limit",
            Self::BodyLimit => "body_limit",
            Self::Decode => "decode",
            Self::Redirect => "redirect",
            Self::UnsetVariable => "unset_variable",
            Self::InvalidHeader => "invalid_header",
            Self::Extract => "extract",
            Self::BodyParse => "body_parse",
            Self::Assert => "assert",
            Self::Flow => "flow",
            Self::PluginTimeout => "plugin_timeout",
            Self::PluginTrap => "plugin_trap",
        }
    }

    /// The kind of a failed connect, from the system's error number.
    pub(crate) fn of_connect(errno: i32) -> Self {
        use nix::errno::Errno;
        match Errno::from_raw(errno) {
            Errno::ECONNREFUSED => Self::ConnectRefused,
            Errno::ETIMEDOUT => Self::ConnectTimeout,
            Errno::EMFILE | Errno::ENFILE => Self::FdExhausted,
            Errno::EADDRNOTAVAIL | Errno::EADDRINUSE => Self::PortExhausted,
            Errno::ENOBUFS | Errno::ENOMEM => Self::NoResources,
            Errno::ECONNRESET => Self::Reset,
            _ => Self::ConnectFailed,
        }
    }

    /// The kind of a failed established connection, from the system's error number.
    pub(crate) fn of_connection(errno: i32) -> Self {
        use nix::errno::Errno;
        match Errno::from_raw(errno) {
            Errno::ECONNRESET | Errno::EPIPE | Errno::ECONNABORTED => Self::Reset,
            Errno::ETIMEDOUT => Self::Timeout,
            _ => Self::Closed,
        }
    }
}
