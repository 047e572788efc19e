"""MediaPipe's FaceLandmarker without the mediapipe package: a face detector, a mesh of 478 points, 52 blendshapes.

Published by Google under Apache-2.0 as one file, ``face_landmarker.task`` (a zip of three LiteRT networks). What stands
between the networks (anchors, suppression, the turned region of interest) is written here from the published graphs.

``bundle``    the file: where it may lie, its checksum, the networks in it
``detector``  anchors, boxes and keypoints of faces
``region``    the turned square around a face, and pixels of it
``networks``  the three networks, by LiteRT or in torch
``litert_graph`` a LiteRT network as a torch module, batched, on any device
``names``     blendshapes, and the points that they are computed from
``expert``    the experts ``mediapipe-478`` and ``blendshapes-52``
"""
