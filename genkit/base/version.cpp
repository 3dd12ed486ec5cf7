#include "genkit/base/version.h"

namespace genkit {

const char* version() { return "0.1.0"; }

}  // namespace genkit
