package redisstore

import _ "embed" // for the scripts

//go:embed scripts/record.lua
var recordLua string

//go:embed scripts/acquire.lua
var acquireLua string

//go:embed scripts/renew.lua
var renewLua string

//go:embed scripts/begin_effect.lua
var beginEffectLua string

//go:embed scripts/finish.lua
var finishLua string

//go:embed scripts/resolve.lua
var resolveLua string

//go:embed scripts/look.lua
var lookLua string

//go:embed scripts/memory.lua
var memoryScript string

// The scripts on one record.
var (
	acquireScript     = recordLua + "\n" + acquireLua
	renewScript       = recordLua + "\n" + renewLua
	beginEffectScript = recordLua + "\n" + beginEffectLua
	finishScript      = recordLua + "\n" + finishLua
	resolveScript     = recordLua + "\n" + resolveLua
	lookScript        = recordLua + "\n" + lookLua
)
