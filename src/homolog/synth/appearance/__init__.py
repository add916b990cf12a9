"""How rendered scenes look: colours, materials, light, backgrounds, and the effects of cameras.

Colours are linear RGB unless a name says sRGB; images are float32, 0..1.
"""
