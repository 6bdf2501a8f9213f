"""The pipeline `pointing`: a wide-field guide camera, frame by frame and night by night."""
