"""Makes data/gnina/*.npz: protein-ligand complexes as GNINA's networks type them.

    python data/make_gnina_complexes.py FOLDER

FOLDER holds the two source archives that SOURCES names, as pip downloads them. Needs rdkit, which
nothing else here does. Eight complexes are models made for free-energy calculations, four are
crystal structures. A pose is the ligand where its source has it, or that one turned and shifted
as a rigid body (seed 0); hydrogens decide types and are then dropped, as in GNINA.
"""

from __future__ import annotations

import argparse
import hashlib
import tarfile
from pathlib import Path

import numpy as np
from rdkit import Chem, RDLogger

HERE = Path(__file__).resolve().parent
SOURCES = {
    "openmmforcefields-0.15.1.tar.gz": (
        "c8c5e806ed89c81691e742fb86f768f4c3c06f0173f7343e8420b78ee8645595"
    ),
    "posebusters-0.6.5.tar.gz": (
        "066d4e9589979bd72c5c1cfe49f3f7fd30246cacd63fa492c3b0d15bca5c4b12"
    ),
}
MODELS = "openmmforcefields-0.15.1/openmmforcefields/data/perses_jacs_systems"
CRYSTALS = "posebusters-0.6.5/tests/conftest"
FILES = {  # of each complex: the protein, the ligands of which the first is taken
    "bace": (f"{MODELS}/bace/Bace_protein.pdb", f"{MODELS}/bace/Bace_ligands_shifted.sdf"),
    "cdk2": (f"{MODELS}/cdk2/CDK2_protein.pdb", f"{MODELS}/cdk2/CDK2_ligands_shifted.sdf"),
    "jnk1": (f"{MODELS}/jnk1/Jnk1_protein.pdb", f"{MODELS}/jnk1/Jnk1_ligands.sdf"),
    "mcl1": (f"{MODELS}/mcl1/MCL1_protein.pdb", f"{MODELS}/mcl1/MCL1_ligands.sdf"),
    "p38a": (f"{MODELS}/p38a/p38_protein.pdb", f"{MODELS}/p38a/p38_ligands_shifted.sdf"),
    "ptp1b": (f"{MODELS}/ptp1b/PTP1B_protein.pdb", f"{MODELS}/ptp1b/PTP1B_ligands.sdf"),
    "thrombin": (
        f"{MODELS}/thrombin/Thrombin_protein.pdb",
        f"{MODELS}/thrombin/Thrombin_ligands.sdf",
    ),
    "tyk2": (f"{MODELS}/tyk2/Tyk2_protein.pdb", f"{MODELS}/tyk2/Tyk2_ligands_shifted.sdf"),
    "1s3v": (
        f"{CRYSTALS}/1s3v/1s3v_protein_one_lig_removed.pdb",
        f"{CRYSTALS}/1s3v/1s3v_ligand.sdf",
    ),
    "1uou": (
        f"{CRYSTALS}/1uou/1uou_protein_one_lig_removed.pdb",
        f"{CRYSTALS}/1uou/1uou_ligand.sdf",
    ),
    "2bm2": (
        f"{CRYSTALS}/mol_2bm2_protein_one_ligand_removed.pdb",
        f"{CRYSTALS}/mol_2bm2_ligand.sdf",
    ),
    "2ha2": (
        f"{CRYSTALS}/2HA2_SCK_2HA3_CHT/2HA2_SCK_2HA3_CHT_larger_receptor.pdb",
        f"{CRYSTALS}/2HA2_SCK_2HA3_CHT/2HA2_SCK_2HA3_CHT_larger_ligand.sdf",
    ),
}
# GNINA's fourteen kinds for a ligand and for a receptor; carbon's four come first in both.
LIGAND = ["Br I", "Cl", "F", "N", "NH", "O", "OH", "S", "P", "metal Ca Zn"]
RECEPTOR = ["F Cl Br I", "N", "NH", "O", "OH", "S", "P", "Ca", "Zn", "metal"]
# Atoms' radii in angstrom; selenium counts as sulfur.
RADII = {"C": 1.9, "N": 1.8, "O": 1.7, "S": 2.0, "P": 2.1, "F": 1.5, "Cl": 1.8, "Br": 2.0, "I": 2.2}
METAL = 1.2
AROMATIC = {
    "PHE": "CG CD1 CD2 CE1 CE2 CZ",
    "TYR": "CG CD1 CD2 CE1 CE2 CZ",
    "TRP": "CG CD1 CD2 CE2 CE3 CZ2 CZ3 CH2",
    "HIS": "CG CD2 CE1",
}
HISTIDINES = {"HID", "HIE", "HIP"}
PROTEIN = """
    ALA ARG ASN ASP CYS CYX GLN GLU GLY HIS HID HIE HIP ILE LEU LYS MET PHE PRO SER THR TRP TYR VAL
    ACE NME TPO
"""
# Where a file has no hydrogens: those that a neutral histidine, and charged acids, would have.
HYDROGENS = """
    ARG.NE ARG.NH1 ARG.NH2 LYS.NZ ASN.ND2 GLN.NE2 TRP.NE1 HIS.NE2 SER.OG THR.OG1 TYR.OH
"""
BONDED, TO_SULFUR, TO_HYDROGEN = 1.75, 2.0, 1.3  # angstrom, at most
KEPT = 26.0  # angstrom from the ligand's centre: beyond, no turn or shift brings an atom in
POSES = 8


def channel(element: str, aromatic: bool, hetero: bool, hydrogen: bool, kinds: list[str]) -> int:
    """Which of the fourteen kinds an atom is."""
    if element == "C":
        return 2 * aromatic + hetero
    key = {"N": "NH", "O": "OH"}.get(element) if hydrogen else None
    key = key or ("S" if element == "Se" else element)
    for number, kind in enumerate(kinds):
        if key in kind.split():
            return 4 + number
    return 4 + next(number for number, kind in enumerate(kinds) if "metal" in kind)


def receptor_atoms(text: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Heavy atoms of the protein, (r, 3), and their channels and radii; what is not protein goes.

    Of atoms in two places the first stays.
    """
    atoms, seen = [], set()
    for line in text.splitlines():
        if not line.startswith(("ATOM", "HETATM")) or line[17:20].strip() not in PROTEIN.split():
            continue
        name, residue = line[12:16].strip(), line[17:20].strip()
        key = (line[21:27], residue, name)
        if key in seen:
            continue
        seen.add(key)
        element = line[76:78].strip() or name.lstrip("0123456789")[:1]
        atoms.append((element, name, residue, [float(line[i : i + 8]) for i in (30, 38, 46)]))
    place = np.array([atom[3] for atom in atoms])
    element = np.array([atom[0] for atom in atoms])
    explicit = bool((element == "H").any())
    channels, radii, heavy = [], [], np.flatnonzero(element != "H")
    for i in heavy:
        kind, name, residue = atoms[i][:3]
        distance = np.linalg.norm(place - place[i], axis=1)
        distance[i] = np.inf
        limit = np.where(np.isin(element, ["S", "P"]), TO_SULFUR, BONDED)
        hetero = bool(((distance < limit) & ~np.isin(element, ["C", "H"])).any())
        if explicit:
            hydrogen = bool(((distance < TO_HYDROGEN) & (element == "H")).any())
        else:
            backbone = name == "N" and residue != "PRO"
            hydrogen = backbone or f"{residue}.{name}" in HYDROGENS.split()
        ring = AROMATIC.get("HIS" if residue in HISTIDINES else residue, "")
        channels.append(channel(kind, name in ring.split(), hetero, hydrogen, RECEPTOR))
        radii.append(RADII.get(kind, METAL))
    return place[heavy], np.array(channels), np.array(radii)


def ligand_atoms(text: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Heavy atoms of the first molecule of an SDF file, (l, 3), their channels and radii."""
    molecule = Chem.MolFromMolBlock(text.split("$$$$")[0], removeHs=False)
    molecule = Chem.AddHs(molecule, addCoords=True)
    place, channels, radii = molecule.GetConformer().GetPositions(), [], []
    heavy = [atom for atom in molecule.GetAtoms() if atom.GetSymbol() != "H"]
    for atom in heavy:
        beside = {other.GetSymbol() for other in atom.GetNeighbors()}
        facts = (atom.GetIsAromatic(), bool(beside - {"C", "H"}), "H" in beside)
        channels.append(14 + channel(atom.GetSymbol(), *facts, LIGAND))
        radii.append(RADII.get(atom.GetSymbol(), METAL))
    return place[[atom.GetIdx() for atom in heavy]], np.array(channels), np.array(radii)


def turn(axis: np.ndarray, angle: float) -> np.ndarray:
    """The rotation by an angle in radians about an axis of any length: (3, 3)."""
    x, y, z = axis / np.linalg.norm(axis)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross


def rigid_poses(ligand: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The ligand and seven rigid placements near it: 5 to 45 degrees, 0.3 to 1.5 angstrom."""
    poses = [ligand]
    for _ in range(POSES - 1):
        rotation = turn(rng.normal(size=3), np.radians(rng.uniform(5, 45)))
        shift = rng.normal(size=3)
        shift *= rng.uniform(0.3, 1.5) / np.linalg.norm(shift)
        poses.append((ligand - ligand.mean(0)) @ rotation.T + ligand.mean(0) + shift)
    return np.stack(poses)


def save(name: str, receptor: tuple, ligand: tuple, poses: np.ndarray) -> None:
    """One file, around the first pose's centre, coordinates to a thousandth of an angstrom."""
    centre = poses[0].mean(0)
    near = np.linalg.norm(receptor[0] - centre, axis=1) < KEPT
    np.savez_compressed(
        HERE / "gnina" / f"{name}.npz",
        receptor=np.round(receptor[0][near] - centre, 3).astype(np.float32),
        poses=np.round(poses - centre, 3).astype(np.float32),
        channels=np.concatenate([receptor[1][near], ligand[1]]).astype(np.int8),
        radii=np.concatenate([receptor[2][near], ligand[2]]).astype(np.float32),
    )
    gap = np.linalg.norm(receptor[0][:, None] - poses[0][None], axis=2)
    close = int((gap.min(0) < 5).sum())
    print(
        f"{name}: {near.sum()} + {len(poses[0])} atoms, nearest {gap.min():.2f}, {close} within 5"
    )


def main() -> None:
    """Reads the archives, writes the files."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="where the two archives are")
    folder = parser.parse_args().folder
    RDLogger.DisableLog("rdApp.*")
    texts = {}
    for archive, sha in SOURCES.items():
        if hashlib.sha256((folder / archive).read_bytes()).hexdigest() != sha:
            raise SystemExit(f"{archive} is not the file that this script was written for")
        with tarfile.open(folder / archive) as packed:
            for path in {path for pair in FILES.values() for path in pair}:
                if path.startswith(archive.removesuffix(".tar.gz")):
                    texts[path] = packed.extractfile(path).read().decode()
    rng = np.random.default_rng(0)
    (HERE / "gnina").mkdir(exist_ok=True)
    for name, (protein, ligands) in FILES.items():
        ligand = ligand_atoms(texts[ligands])
        save(name, receptor_atoms(texts[protein]), ligand, rigid_poses(ligand[0], rng))


if __name__ == "__main__":
    main()
