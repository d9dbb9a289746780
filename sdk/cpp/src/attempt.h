// try and catch that can be built without exceptions.
#pragma once

#if defined(__cpp_exceptions)
#define WINDTUNNEL_TRY try
#define WINDTUNNEL_CATCH_ALL catch (...)
#else
#define WINDTUNNEL_TRY if (true)
#define WINDTUNNEL_CATCH_ALL else
#endif
