"""The numbers that image and mask files store; `kseg.data.picture` and `kseg.data.masks` say what they mean."""
