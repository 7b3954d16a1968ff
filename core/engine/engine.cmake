# The renderer's Lua code and the template libraries are embedded into the binary.
haptic_layer(engine haptic_store PkgConfig::LUAJIT PkgConfig::SECCOMP)
