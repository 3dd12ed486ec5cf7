#pragma once

/* C ABI of the Rust library: tokenizers and chat templates. No panic crosses it. */
