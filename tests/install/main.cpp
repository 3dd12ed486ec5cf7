#include <mlx/ops.h>

#include <cstdio>

#include "genkit/base/version.h"

int main() {
  mlx::core::array two = mlx::core::array(1.0F) + mlx::core::array(1.0F);
  std::printf("mlx_genkit %s, 1 + 1 = %g\n", genkit::version(), two.item<float>());
}
