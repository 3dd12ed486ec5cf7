#include <cstdio>

#include "genkit/base/version.h"

int main() {
  std::printf("mlxgk %s\n", genkit::version());
  return 0;
}
