"""The pickle machine: bytes to values (`vm`) and values to bytes (`encoder`). It knows no tensor and no container."""
