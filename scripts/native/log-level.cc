// TensorFlow reads TF_CPP_MIN_LOG_LEVEL too late for the lines that it logs while it is being loaded. This library
// has no dependencies and is linked with "initfirst", so its constructor runs before those of TensorFlow.
//
// The function is Abseil's, inside TensorFlow's libraries; its name carries the release of Abseil. It is declared
// weak: with another release nothing happens, and the lines appear.

#include <cstdlib>

namespace absl {
namespace lts_20250814 {
enum class LogSeverityAtLeast : int {};
__attribute__((weak)) void SetMinLogLevel(LogSeverityAtLeast);
}  // namespace lts_20250814
}  // namespace absl

__attribute__((constructor)) static void setLogLevel() {
  const char* level = std::getenv("TF_CPP_MIN_LOG_LEVEL");
  if (level == nullptr || &absl::lts_20250814::SetMinLogLevel == nullptr) return;
  absl::lts_20250814::SetMinLogLevel(static_cast<absl::lts_20250814::LogSeverityAtLeast>(std::atoi(level)));
}
