#pragma once

#include <stdexcept>
#include <string>

namespace genkit {

/// Root of every exception this library throws on purpose. `what()` is a sentence for the user.
class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// The caller's mistake: an option, a prompt, a shape. The message starts with the name of the
/// option: "top_p: expected a number in (0, 1], got 1.7".
class ArgumentError : public Error {
 public:
  using Error::Error;
};

/// A file that cannot be what it claims to be. The message starts with the file and the field:
/// "config.json: rope_scaling.factor: expected a number, got a string".
class FormatError : public Error {
 public:
  using Error::Error;
};

/// The system said no: a missing file, a full disk, a closed pipe. Names the path and the reason.
class IoError : public Error {
 public:
  using Error::Error;
};

}  // namespace genkit
