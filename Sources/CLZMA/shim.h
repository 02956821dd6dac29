#pragma once
#include <lzma.h>

// A macro with a cast, which Swift does not import.
static const uint32_t ignite_lzma_concatenated = LZMA_CONCATENATED;
