//! What every entry point shares: bytes in and out, status codes, and the wall no panic crosses.

use std::any::Any;
use std::cell::Cell;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::Once;

/// Why a call failed; the number is the `GkStatus` of the header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub enum Status {
    Ok = 0,
    Argument = 1,
    Format = 2,
    #[allow(dead_code)]
    Io = 3,
    Internal = 4,
}

/// A failed call: its status and a sentence for the user.
#[derive(Debug)]
pub struct Failure {
    pub status: Status,
    pub message: String,
}

pub type Outcome<T> = Result<T, Failure>;

pub fn argument_error<T>(message: impl Into<String>) -> Outcome<T> {
    Err(Failure { status: Status::Argument, message: message.into() })
}

pub fn format_error<T>(message: impl Into<String>) -> Outcome<T> {
    Err(Failure { status: Status::Format, message: message.into() })
}

/// Bytes lent by the caller for the time of a call.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct GkSlice {
    pub data: *const u8,
    pub size: usize,
}

impl GkSlice {
    /// # Safety
    /// `data` points to `size` readable bytes that outlive `'a`, or `size` is 0.
    pub unsafe fn bytes<'a>(self) -> &'a [u8] {
        if self.size == 0 || self.data.is_null() {
            return &[];
        }
        std::slice::from_raw_parts(self.data, self.size)
    }

    /// # Safety
    /// As `bytes`. Invalid UTF-8 is the caller's mistake; `what` names the argument.
    pub unsafe fn text<'a>(self, what: &str) -> Outcome<&'a str> {
        std::str::from_utf8(self.bytes()).or_else(|error| {
            argument_error(format!("{what}: invalid UTF-8 at byte {}", error.valid_up_to()))
        })
    }
}

/// Bytes given to the caller, who returns them by `gk_buffer_free`.
#[repr(C)]
pub struct GkBuffer {
    pub data: *mut u8,
    pub size: usize,
}

impl GkBuffer {
    fn from_bytes(bytes: Vec<u8>) -> Self {
        let mut boxed = bytes.into_boxed_slice();
        let buffer = GkBuffer { data: boxed.as_mut_ptr(), size: boxed.len() };
        std::mem::forget(boxed);
        buffer
    }
}

/// # Safety
/// `buffer` came from this library and was not freed before, or is all zeros.
#[no_mangle]
pub unsafe extern "C" fn gk_buffer_free(buffer: GkBuffer) {
    if !buffer.data.is_null() {
        drop(Box::from_raw(std::ptr::slice_from_raw_parts_mut(buffer.data, buffer.size)));
    }
}

thread_local! {
    static INSIDE: Cell<u32> = const { Cell::new(0) };
}

/// The default panic hook writes to stderr, which belongs to the program around us. Inside an entry
/// point a panic is reported as a status, so it stays silent.
fn silence_own_panics() {
    static INSTALL: Once = Once::new();
    INSTALL.call_once(|| {
        let previous = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if INSIDE.with(Cell::get) == 0 {
                previous(info);
            }
        }));
    });
}

fn panic_message(payload: &(dyn Any + Send)) -> String {
    let text = payload
        .downcast_ref::<&str>()
        .map(|text| text.to_string())
        .or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "unknown panic".to_string());
    format!("internal error: {text}")
}

/// Runs `body`, turning a panic into a failure.
pub fn catch<T>(body: impl FnOnce() -> Outcome<T>) -> Outcome<T> {
    silence_own_panics();
    INSIDE.with(|depth| depth.set(depth.get() + 1));
    let caught = catch_unwind(AssertUnwindSafe(body));
    INSIDE.with(|depth| depth.set(depth.get() - 1));
    caught.unwrap_or_else(|payload| {
        let message = panic_message(payload.as_ref());
        // A payload whose destructor panics must not get out either.
        if let Err(second) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
            std::mem::forget(second);
        }
        Err(Failure { status: Status::Internal, message })
    })
}

/// The body of an entry point: fills `out` with the value or the message and returns the status.
///
/// # Safety
/// `out` is null or points to a writable `GkBuffer`; what it held is overwritten, not freed.
pub unsafe fn entry(out: *mut GkBuffer, body: impl FnOnce() -> Outcome<Vec<u8>>) -> i32 {
    let (status, bytes) = match catch(body) {
        Ok(bytes) => (Status::Ok, bytes),
        Err(failure) => (failure.status, failure.message.into_bytes()),
    };
    if !out.is_null() {
        out.write(GkBuffer::from_bytes(bytes));
    }
    status as i32
}

/// Little-endian 32-bit integers, one after the other.
pub fn pack_u32(values: impl IntoIterator<Item = u32>) -> Vec<u8> {
    values.into_iter().flat_map(u32::to_le_bytes).collect()
}
