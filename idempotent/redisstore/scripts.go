package redisstore

import _ "embed" // for the scripts

var (
	//go:embed scripts/record.lua
	recordLua string
	//go:embed scripts/acquire.lua
	acquireLua string
	//go:embed scripts/renew.lua
	renewLua string
	//go:embed scripts/begin_effect.lua
	beginEffectLua string
	//go:embed scripts/finish.lua
	finishLua string
	//go:embed scripts/resolve.lua
	resolveLua string
	//go:embed scripts/look.lua
	lookLua string
	//go:embed scripts/memory.lua
	memoryScript string
)

// The scripts on one record.
var (
	acquireScript     = recordLua + "\n" + acquireLua
	renewScript       = recordLua + "\n" + renewLua
	beginEffectScript = recordLua + "\n" + beginEffectLua
	finishScript      = recordLua + "\n" + finishLua
	resolveScript     = recordLua + "\n" + resolveLua
	lookScript        = recordLua + "\n" + lookLua
)
